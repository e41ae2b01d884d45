"""Second moments of blocks by pooling on a GPU: every sum runs in one order, so that equal calls give equal bits."""

from torch import Tensor

from videosieve.kernels.block_moments.reference import moments_by
from videosieve.kernels.pool_blocks import launch, pool_blocks


def refuse(x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None) -> str | None:
    """Why pooling by the Triton kernel cannot give them, or None."""
    tensors = (x,) if y is None else (x, y)
    return next((reason for each in tensors if (reason := launch.refuse(each, offsets, order))), None)


def block_moments(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Variances and covariances; shapes as in the api."""

    def mean(of: Tensor, _block: Tensor) -> Tensor:
        return pool_blocks(of.contiguous(), offsets, order=order, backend="triton").means

    return moments_by(mean, x, offsets, y, order)
