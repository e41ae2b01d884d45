"""When a method runs: dense or sparse at a given layer, step and branch."""

from videosieve.schedule.base import Action, Schedule
from videosieve.schedule.dense_first import DenseFirst

__all__ = ["Action", "DenseFirst", "Schedule"]
