"""Antidiagonal mass: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.antidiagonal_mass import native, reference
from videosieve.kernels.antidiagonal_scores.api import MOST_STRIDE
from videosieve.kernels.arguments import check_pair, check_whole
from videosieve.kernels.dispatch import Implementation, anything, choose

MOST_SIDE = 1 << 24

IMPLEMENTATIONS = (
    Implementation("native", native.refuse, native.antidiagonal_mass),
    Implementation("reference", anything, reference.antidiagonal_mass),
)


def antidiagonal_mass(
    q: Tensor,
    k: Tensor,
    stride: int,
    side: int,
    *,
    scale: float | None = None,
    causal: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Softmax mass of every block, estimated from one antidiagonal per stride × stride cell.

    The softmax is over cells of keys, of the scores that `antidiagonal_scores` gives, and is summed over the cells of a
    block (XAttention, arXiv:2503.16428, Algorithm 1). In partial last cells means are over the pairs that there are,
    and a cell weighs as many tokens as it has. No cells × cells tensor is kept: the native kernel holds a few rows of
    cells at a time, the reference a stretch of the queries.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, key heads, keys, head_dim], any strides; neighbouring heads of q share one where they are fewer.
        stride: Cell side, tokens, from 1 to 65,536.
        side: Block side, tokens, a multiple of the stride.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        causal: Whether cells above the diagonal have no mass; the last query belongs to the last key, and there are as
            many keys as queries or more, whole cells more for an estimate that is cut where the diagonal is.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        fp32 [batch, heads, ceil(queries / side), ceil(keys / side)], fp64 for fp64 inputs; in cells: a row adds up to
        its query tokens ÷ stride.

    Raises:
        ShapeError: q and k do not fit together or cannot be read, or stride or side are out of range.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_pair(q, k, grouped=True)
    check_whole("stride", stride, 1, MOST_STRIDE, "a number of tokens")
    check_whole("side", side, 1, MOST_SIDE, "a number of tokens")
    if not isinstance(causal, bool):
        raise ShapeError(f"causal is True or False, got {causal!r}")
    if side % stride:
        raise ShapeError(f"side must be a multiple of stride, got {side=} and {stride=}")
    if causal and q.shape[2] > k.shape[2]:
        raise ShapeError(
            f"a causal mass needs at least as many keys as queries, the last of both belong together; got "
            f"{q.shape[2]} queries and {k.shape[2]} keys"
        )
    scale = resolve_scale(scale, q.shape[-1])
    if torch.compiler.is_compiling():
        return torch.ops.videosieve.antidiagonal_mass(q, k, stride, side, scale, causal, backend)
    chosen = choose("antidiagonal_mass", IMPLEMENTATIONS, backend, q, k, stride, side, scale, causal)
    return chosen.run(q, k, stride, side, scale, causal)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor q, Tensor k, SymInt stride, SymInt side, float scale, bool causal, str? backend) -> Tensor"


@torch.library.custom_op("videosieve::antidiagonal_mass", mutates_args=(), schema=_SCHEMA)
def _operator(
    q: Tensor, k: Tensor, stride: int, side: int, scale: float, causal: bool, backend: str | None
) -> Tensor:
    mass = antidiagonal_mass(q, k, stride, side, scale=scale, causal=causal, backend=backend)
    return mass.contiguous()


@_operator.register_fake
def _shapes(q: Tensor, k: Tensor, _stride: int, side: int, *_arguments: object) -> Tensor:
    blocks = -(-q.shape[2] // side), -(-k.shape[2] // side)
    return q.new_empty(*q.shape[:2], *blocks, dtype=torch.promote_types(q.dtype, torch.float32))
