"""Second moments of blocks in plain PyTorch: the meaning of the op."""

import torch
from torch import Tensor

from videosieve.masks.ragged_mask import blocks_of


def block_moments(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Variances of x and covariances with y inside every block; shapes as in the api."""
    batch, heads, tokens, axes = x.shape
    block = blocks_of(torch.arange(tokens, device=x.device), offsets).expand(batch, heads, -1)
    if order is not None:
        order = (order if order.ndim == 3 else order.view(1, 1, -1)).expand(batch, heads, -1)
        block = torch.zeros_like(block).scatter(2, order, block)
    blocks = offsets.shape[-1] - 1
    sizes = offsets.diff().clamp(min=1).unsqueeze(-1)

    def mean(of: Tensor) -> Tensor:
        index = block.unsqueeze(-1).expand(-1, -1, -1, of.shape[-1])
        sums = of.new_zeros(batch, heads, blocks, of.shape[-1]).scatter_add(2, index, of)
        return sums / sizes.to(of.dtype)

    def about_mean(of: Tensor) -> Tensor:
        of = of.to(torch.promote_types(of.dtype, torch.float32))
        return of - mean(of).gather(2, block.unsqueeze(-1).expand(-1, -1, -1, of.shape[-1]))

    x = about_mean(x)
    if y is None:
        return mean(x.square()), x.new_empty(batch, heads, blocks, 0, axes)
    covariances = [mean(x * one.unsqueeze(-1)) for one in about_mean(y).unbind(-1)]
    return mean(x.square()), torch.stack(covariances, -2)
