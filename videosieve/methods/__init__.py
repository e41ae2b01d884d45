"""The methods: one paper, one file."""

from videosieve.methods.base import Method, Selection, TokenOrder, attend_selected
from videosieve.methods.dense import Dense
from videosieve.methods.registry import METHODS, make_method
from videosieve.methods.sparse_videogen import SparseVideoGen, SpatialOnly, TemporalOnly

__all__ = [
    "METHODS",
    "Dense",
    "Method",
    "Selection",
    "SparseVideoGen",
    "SpatialOnly",
    "TemporalOnly",
    "TokenOrder",
    "attend_selected",
    "make_method",
]
