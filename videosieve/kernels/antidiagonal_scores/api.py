"""Antidiagonal scores: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.kernels.antidiagonal_scores import cpu, launch, native, reference
from videosieve.kernels.arguments import check_pair, check_whole
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.triton_support import lazily

_HERE = "videosieve.kernels.antidiagonal_scores"
MOST_STRIDE = 1 << 16
"""The longest cell side; a copy of a cell has stride · head_dim values."""

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily(f"{_HERE}.triton", "antidiagonal_scores")),
    Implementation("native", native.refuse, native.antidiagonal_scores),
    Implementation("cpu", cpu.refuse, cpu.antidiagonal_scores),
    Implementation("reference", anything, reference.antidiagonal_scores),
)


def antidiagonal_scores(
    q: Tensor, k: Tensor, stride: int, *, scale: float | None = None, backend: str | None = None
) -> Tensor:
    """Mean of `scale · q·k` along the antidiagonal of every stride × stride cell of the attention scores.

    The stride divides query and key axis into cells; query `stride − 1 − s` of a cell meets key `s`. One such
    antidiagonal crosses every row and every column of its cell, which is why XAttention (arXiv:2503.16428, Algorithm 1)
    estimates blocks from it at 1 / stride of the cost. Memory is what is returned, plus one copy of q and k: callers
    with long sequences hand in a stretch of the queries at a time.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides. A stretch of a sequence must start at a cell.
        k: Keys [batch, key heads, keys, head_dim], any strides; neighbouring heads of q share one where they are fewer.
        stride: Cell side, tokens, from 1 to 65,536.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        fp32 [batch, heads, ceil(queries / stride), ceil(keys / stride)], fp64 for fp64 inputs. The sum is divided by
        the stride everywhere; tokens past the end of a partial last cell count as zeros.

    Raises:
        ShapeError: q and k do not fit together or cannot be read, or the stride is out of range.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_pair(q, k, grouped=True)
    check_whole("stride", stride, 1, MOST_STRIDE, "a number of tokens")
    scale = resolve_scale(scale, q.shape[-1])
    if torch.compiler.is_compiling():
        return torch.ops.videosieve.antidiagonal_scores(q, k, stride, scale, backend)
    chosen = choose("antidiagonal_scores", IMPLEMENTATIONS, backend, q, k, stride, scale)
    return chosen.run(q, k, stride, scale)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor q, Tensor k, SymInt stride, float scale, str? backend) -> Tensor"


@torch.library.custom_op("videosieve::antidiagonal_scores", mutates_args=(), schema=_SCHEMA)
def _operator(q: Tensor, k: Tensor, stride: int, scale: float, backend: str | None) -> Tensor:
    return antidiagonal_scores(q, k, stride, scale=scale, backend=backend).contiguous()


@_operator.register_fake
def _shapes(q: Tensor, k: Tensor, stride: int, *_arguments: object) -> Tensor:
    cells = -(-q.shape[2] // stride), -(-k.shape[2] // stride)
    return q.new_empty(*q.shape[:2], *cells, dtype=torch.promote_types(q.dtype, torch.float32))
