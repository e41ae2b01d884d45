"""Second moments of blocks by pooling on a GPU: every sum runs in one order, so that equal calls give equal bits."""

import torch
from torch import Tensor

from videosieve.kernels.pool_blocks import launch, pool_blocks
from videosieve.masks.ragged_mask import blocks_of

MOST_COLUMNS = 128


def refuse(x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None) -> str | None:
    """Why pooling by the Triton kernel cannot give them, or None."""
    if (reason := launch.refuse(x, offsets, order)) is not None:
        return reason
    columns = x.shape[-1] * (1 if y is None else 1 + y.shape[-1])
    if columns > MOST_COLUMNS:
        return f"it pools x axes × (1 + y axes), at most {MOST_COLUMNS} values a token, got {columns}"
    return None


def block_moments(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Variances and covariances; shapes as in the api."""
    batch, heads, tokens, axes = x.shape
    block = blocks_of(torch.arange(tokens, device=x.device), offsets).expand(batch, heads, -1)
    if order is not None:
        order = (order if order.ndim == 3 else order.view(1, 1, -1)).expand(batch, heads, -1)
        block = torch.zeros_like(block).scatter(2, order, block)

    def mean(of: Tensor) -> Tensor:
        return pool_blocks(of.contiguous(), offsets, order=order, backend="triton").means

    def about_mean(of: Tensor) -> Tensor:
        of = of.float()
        return of - mean(of).gather(2, block.unsqueeze(-1).expand(-1, -1, -1, of.shape[-1]))

    x = about_mean(x)
    others = [] if y is None else [x * one.unsqueeze(-1) for one in about_mean(y).unbind(-1)]
    parts = mean(torch.cat([x.square(), *others], -1)).unflatten(-1, (-1, axes))
    return parts[..., 0, :], parts[..., 1:, :]
