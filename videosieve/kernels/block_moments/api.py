"""Second moments of blocks: documentation, checks, dispatch."""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import check_device, check_floats, check_offsets, check_order
from videosieve.kernels.block_moments import native, pooled, reference
from videosieve.kernels.dispatch import Implementation, anything, choose

IMPLEMENTATIONS = (
    Implementation("triton", pooled.refuse, pooled.block_moments),
    Implementation("native", native.refuse, native.block_moments),
    Implementation("reference", anything, reference.block_moments),
)


class Moments(NamedTuple):
    """How tokens lie about the means of their blocks; 0 for an empty block.

    Attributes:
        variances: Mean square of what x lacks to its mean, fp32 [batch, heads, blocks, x axes], fp64 for fp64 inputs.
        covariances: Mean product of it with what y lacks to its mean [batch, heads, blocks, y axes, x axes].
    """

    variances: Tensor
    covariances: Tensor


def block_moments(
    x: Tensor,
    offsets: Tensor,
    *,
    y: Tensor | None = None,
    order: Tensor | None = None,
    backend: str | None = None,
) -> Moments:
    """Variances of x inside every block, and covariances of x with y, in one read of both.

    Args:
        x: Tokens [batch, heads, tokens, x axes].
        offsets: int64 [batch|1, heads|1, blocks + 1], as for `pool_blocks`.
        y: Of the same tokens [batch, heads, tokens, y axes], in the dtype of x. None: no covariances, y axes are 0.
        order: As for `pool_blocks`.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        Variances and covariances, by deviations from the means: no difference of squares loses their digits.

    Raises:
        ShapeError: x, y, offsets and order do not fit together, or cannot be read. Values of offsets and orders are
            looked at on the CPU only; on a GPU they are brought into range instead.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_floats(x=x)
    if y is not None:
        check_floats(x=x, y=y)
        if y.shape[:3] != x.shape[:3]:
            raise ShapeError(f"y must be of the tokens of x, {list(x.shape[:3])}, got {list(y.shape)}")
        check_device("y", y, x.device)
    offsets, order = check_offsets("offsets", offsets, x), check_order("order", order, x)
    if torch.compiler.is_compiling() and not (torch.is_grad_enabled() and x.requires_grad):
        return Moments(*torch.ops.videosieve.block_moments(x, offsets, y, order, backend))
    chosen = choose("block_moments", IMPLEMENTATIONS, backend, x, offsets, y, order)
    return Moments(*chosen.run(x, offsets, y, order))


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor x, Tensor offsets, Tensor? y, Tensor? order, str? backend) -> (Tensor, Tensor)"


@torch.library.custom_op("videosieve::block_moments", mutates_args=(), schema=_SCHEMA)
def _operator(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None, backend: str | None
) -> tuple[Tensor, Tensor]:
    variances, covariances = block_moments(x, offsets, y=y, order=order, backend=backend)
    return variances.contiguous(), covariances.contiguous()


@_operator.register_fake
def _shapes(x: Tensor, offsets: Tensor, y: Tensor | None, *_arguments: object) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    lead = (*x.shape[:2], offsets.shape[-1] - 1)
    axes = 0 if y is None else y.shape[3]
    return x.new_empty(*lead, x.shape[3], dtype=wide), x.new_empty(*lead, axes, x.shape[3], dtype=wide)
