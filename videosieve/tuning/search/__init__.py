"""Which candidates there are, what a screening predicts of them, and which to try next. No model."""

from videosieve.tuning.search.calibration import Calibration, fit
from videosieve.tuning.search.candidates import Candidate, Family, families
from videosieve.tuning.search.goal import Goal
from videosieve.tuning.search.journal import Journal
from videosieve.tuning.search.points import Point, pareto_front
from videosieve.tuning.search.propose import propose
from videosieve.tuning.search.screen import Choice, Screen

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
