"""The methods: one paper, one file."""

from videosieve.methods.adaspa import AdaSpa
from videosieve.methods.answer import ask
from videosieve.methods.base import Method, Selection, TokenOrder, attend_selected
from videosieve.methods.dense import Dense
from videosieve.methods.draft import DraftAttention
from videosieve.methods.lvsa import Lvsa
from videosieve.methods.minference import MInference
from videosieve.methods.nabla import Nabla
from videosieve.methods.oracle import OracleTopK, RandomBlocks
from videosieve.methods.radial import RadialAttention
from videosieve.methods.registry import METHODS, make_method
from videosieve.methods.semantic_permutation import SemanticPermutation
from videosieve.methods.sieve import Sieve
from videosieve.methods.sliding_tile import SlidingTile
from videosieve.methods.sparge import Sparge
from videosieve.methods.sparse_videogen import SparseVideoGen, SpatialOnly, TemporalOnly
from videosieve.methods.svg_ear import SvgEar
from videosieve.methods.vsa import VsaCoarse
from videosieve.methods.xattention import XAttention

__all__ = [
    "METHODS",
    "AdaSpa",
    "Dense",
    "DraftAttention",
    "Lvsa",
    "MInference",
    "Method",
    "Nabla",
    "OracleTopK",
    "RadialAttention",
    "RandomBlocks",
    "Selection",
    "SemanticPermutation",
    "Sieve",
    "SlidingTile",
    "Sparge",
    "SparseVideoGen",
    "SpatialOnly",
    "SvgEar",
    "TemporalOnly",
    "TokenOrder",
    "VsaCoarse",
    "XAttention",
    "ask",
    "attend_selected",
    "make_method",
]
