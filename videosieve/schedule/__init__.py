"""When a method runs: dense, sparse or an earlier output again, at a given layer, step and branch."""

from videosieve.schedule.base import KINDS, Action, Kind, Schedule
from videosieve.schedule.broadcast import Broadcast, window_of_timesteps
from videosieve.schedule.dense_first import DenseFirst
from videosieve.schedule.first_match import FirstMatch
from videosieve.schedule.table import Table

__all__ = [
    "KINDS",
    "Action",
    "Broadcast",
    "DenseFirst",
    "FirstMatch",
    "Kind",
    "Schedule",
    "Table",
    "window_of_timesteps",
]
