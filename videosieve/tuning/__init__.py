"""Searches a recipe: which candidates there are, what a screening predicts of them, and which to try next. No model."""

from videosieve.tuning.calibration import Calibration, fit
from videosieve.tuning.candidates import Candidate, Family, families
from videosieve.tuning.goal import Goal
from videosieve.tuning.journal import Journal
from videosieve.tuning.points import Point, pareto_front
from videosieve.tuning.screen import Choice, Screen
from videosieve.tuning.search import propose

__all__ = [
    "Calibration",
    "Candidate",
    "Choice",
    "Family",
    "Goal",
    "Journal",
    "Point",
    "Screen",
    "families",
    "fit",
    "pareto_front",
    "propose",
]
