"""The methods: one paper, one file."""

from videosieve.methods.adaspa import AdaSpa
from videosieve.methods.base import Method, Selection, TokenOrder, attend_selected
from videosieve.methods.dense import Dense
from videosieve.methods.minference import MInference
from videosieve.methods.oracle import OracleTopK, RandomBlocks
from videosieve.methods.registry import METHODS, make_method
from videosieve.methods.sparse_videogen import SparseVideoGen, SpatialOnly, TemporalOnly
from videosieve.methods.xattention import XAttention

__all__ = [
    "METHODS",
    "AdaSpa",
    "Dense",
    "MInference",
    "Method",
    "OracleTopK",
    "RandomBlocks",
    "Selection",
    "SparseVideoGen",
    "SpatialOnly",
    "TemporalOnly",
    "TokenOrder",
    "XAttention",
    "attend_selected",
    "make_method",
]
