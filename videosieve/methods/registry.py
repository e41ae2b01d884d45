"""The names of the methods."""

from dataclasses import fields
from typing import Any

from videosieve.errors import RecipeError
from videosieve.fields import checked, nearest
from videosieve.methods.adaspa import AdaSpa
from videosieve.methods.base import Method
from videosieve.methods.dense import Dense
from videosieve.methods.draft import DraftAttention
from videosieve.methods.lvsa import Lvsa
from videosieve.methods.minference import MInference
from videosieve.methods.minference_causal import CausalMInference
from videosieve.methods.nabla import Nabla
from videosieve.methods.oracle import OracleTopK, RandomBlocks
from videosieve.methods.radial import RadialAttention
from videosieve.methods.semantic_permutation import SemanticPermutation
from videosieve.methods.sieve import Sieve
from videosieve.methods.sliding_tile import SlidingTile
from videosieve.methods.sparge import Sparge
from videosieve.methods.sparse_videogen import SparseVideoGen, SpatialOnly, TemporalOnly
from videosieve.methods.svg_ear import SvgEar
from videosieve.methods.vsa import VsaCoarse
from videosieve.methods.window_residual import WindowResidual
from videosieve.methods.xattention import XAttention

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        Dense,
        Sieve,
        SparseVideoGen,
        AdaSpa,
        XAttention,
        MInference,
        CausalMInference,
        SemanticPermutation,
        SvgEar,
        RadialAttention,
        SlidingTile,
        Sparge,
        DraftAttention,
        VsaCoarse,
        Nabla,
        Lvsa,
        WindowResidual,
        SpatialOnly,
        TemporalOnly,
        OracleTopK,
        RandomBlocks,
    )
}


def make_method(name: str, **parameters: Any) -> Method:
    """Build a method from its name.

    Args:
        name: A key of METHODS.
        **parameters: Fields of the method's class.

    Returns:
        The method.

    Raises:
        RecipeError: The name or a parameter is unknown, or a value is outside its range.
    """
    if checked("the name of a method", name, str, RecipeError) not in METHODS:
        raise RecipeError(f"unknown method {name!r}{nearest(name, METHODS)}; there are {', '.join(METHODS)}")
    known = [field.name for field in fields(METHODS[name])]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            raise RecipeError(
                f"method {name!r} has no parameter {key!r}{nearest(key, known)}; it has {', '.join(known) or 'none'}"
            )
    return METHODS[name](**parameters)
