"""Pooling in plain PyTorch: the meaning of the op."""

import torch
from torch import Tensor

from videosieve.masks.ragged_mask import blocks_of


def pool_blocks(x: Tensor, offsets: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean of the tokens of every block, and the mean square of their distance from it; shapes as in the api."""
    batch, heads, tokens, head_dim = x.shape
    wide = torch.promote_types(x.dtype, torch.float32)
    if order is not None:
        order = order if order.ndim == 3 else order.view(1, 1, -1)
        x = x.gather(2, order.expand(batch, heads, -1).unsqueeze(-1).expand(-1, -1, -1, head_dim))
    block = blocks_of(torch.arange(tokens, device=x.device), offsets).expand(batch, heads, -1)
    sizes = offsets.diff().clamp(min=1).to(wide).unsqueeze(-1)
    index = block.unsqueeze(-1).expand(-1, -1, -1, head_dim)
    blocks = offsets.shape[-1] - 1
    means = x.new_zeros(batch, heads, blocks, head_dim, dtype=wide).scatter_add(2, index, x.to(wide)) / sizes
    away = (x.to(wide) - means.gather(2, index)).square().sum(-1)
    spreads = away.new_zeros(batch, heads, blocks).scatter_add(2, block, away) / sizes.squeeze(-1)
    return means.to(x.dtype), spreads
