"""Second moments of blocks in plain PyTorch: the meaning of the op."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.masks.ragged_mask import blocks_of


def block_moments(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Variances of x and covariances with y inside every block; shapes as in the api."""
    sizes = offsets.diff().clamp(min=1).unsqueeze(-1)

    def mean(of: Tensor, block: Tensor) -> Tensor:
        index = block.unsqueeze(-1).expand(-1, -1, -1, of.shape[-1])
        sums = of.new_zeros(*of.shape[:2], sizes.shape[2], of.shape[-1]).scatter_add(2, index, of)
        return sums / sizes.to(of.dtype)

    return moments_by(mean, x, offsets, y, order)


def moments_by(
    mean: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    offsets: Tensor,
    y: Tensor | None,
    order: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Second moments as means of products of deviations.

    Args:
        mean: Takes values [batch, heads, tokens, any] and the block of every token [batch, heads, tokens]; the mean
            over every block [batch, heads, blocks, any], 0 for an empty one.
        x: As for the op.
        offsets: Likewise.
        y: Likewise.
        order: Likewise.

    Returns:
        Variances and covariances.
    """
    batch, heads, tokens, axes = x.shape
    block = blocks_of(torch.arange(tokens, device=x.device), offsets).expand(batch, heads, -1)
    if order is not None:
        order = (order if order.ndim == 3 else order.view(1, 1, -1)).expand(batch, heads, -1)
        block = torch.zeros_like(block).scatter(2, order, block)

    def about_mean(of: Tensor) -> Tensor:
        of = of.to(torch.promote_types(of.dtype, torch.float32))
        return of - mean(of, block).gather(2, block.unsqueeze(-1).expand(-1, -1, -1, of.shape[-1]))

    x = about_mean(x)
    variances = mean(x.square(), block)
    if y is None:
        return variances, variances.new_empty(*variances.shape[:3], 0, axes)
    covariances = [mean(x * one.unsqueeze(-1), block) for one in about_mean(y).unbind(-1)]
    return variances, torch.stack(covariances, -2)
