"""Pooling of blocks: documentation, checks, dispatch."""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.kernels.arguments import check_floats, check_offsets, check_order
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.pool_blocks import launch, native, reference
from videosieve.kernels.triton_support import lazily

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily("videosieve.kernels.pool_blocks.triton", "pool_blocks")),
    Implementation("native", native.refuse, native.pool_blocks),
    Implementation("reference", anything, reference.pool_blocks),
)


class Pooled(NamedTuple):
    """Blocks of tokens as single tokens.

    Attributes:
        means: Mean token of every block [batch, heads, blocks, head_dim] in the dtype of x; 0 for an empty block.
        spreads: Mean square of the distance of a token from its mean, which is the trace of the block's covariance:
            fp32 [batch, heads, blocks], fp64 for fp64 inputs.
    """

    means: Tensor
    spreads: Tensor


def pool_blocks(
    x: Tensor, offsets: Tensor, *, order: Tensor | None = None, backend: str | None = None
) -> Pooled:
    """Mean and spread of the tokens of every block, in one read of x.

    Args:
        x: Keys, values or queries [batch, heads, tokens, head_dim].
        offsets: int64 [batch|1, heads|1, blocks + 1]; block b holds places offsets[b] … offsets[b + 1] − 1. They
            begin with 0, ascend and end with the number of tokens.
        order: Where blocks are in another order than x: int64 [tokens] or [batch|1, heads|1, tokens]; place i is
            token order[i] of x. None where places are tokens.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        Means and spreads.

    Raises:
        ShapeError: x, offsets and order do not fit together, or cannot be read. Values of offsets and orders are looked
            at on the CPU only; on a GPU they are brought into range instead.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_floats(x=x)
    offsets, order = check_offsets("offsets", offsets, x), check_order("order", order, x)
    if torch.compiler.is_compiling() and not (torch.is_grad_enabled() and x.requires_grad):
        return Pooled(*torch.ops.videosieve.pool_blocks(x, offsets, order, backend))
    chosen = choose("pool_blocks", IMPLEMENTATIONS, backend, x, offsets, order)
    return Pooled(*chosen.run(x, offsets, order))


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor x, Tensor offsets, Tensor? order, str? backend) -> (Tensor, Tensor)"


@torch.library.custom_op("videosieve::pool_blocks", mutates_args=(), schema=_SCHEMA)
def _operator(x: Tensor, offsets: Tensor, order: Tensor | None, backend: str | None) -> tuple[Tensor, Tensor]:
    means, spreads = pool_blocks(x, offsets, order=order, backend=backend)
    return means.contiguous(), spreads.contiguous()


@_operator.register_fake
def _shapes(x: Tensor, offsets: Tensor, *_arguments: object) -> tuple[Tensor, Tensor]:
    shape = (*x.shape[:2], offsets.shape[-1] - 1)
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(*shape, x.shape[3]), x.new_empty(shape, dtype=wide)
