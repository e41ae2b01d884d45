"""Block mass in plain PyTorch, one row of blocks at a time."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.masks.block_mask import BlockSize


def block_mass(q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, scale: float) -> Tensor:
    """Σ exp(scale · q·k − lse) of every block; shapes as in the api."""
    wide = torch.promote_types(q.dtype, torch.float32)
    keys = k.to(wide).mT
    side, rows = min(block.key, k.shape[2]), []
    for part, part_lse in zip(*(x.split(min(block.query, q.shape[2]), 2) for x in (q, lse)), strict=True):
        mass = (part.to(wide) @ keys * scale - part_lse.to(wide).unsqueeze(-1)).exp().sum(-2)
        rows.append(pad(mass, (0, -mass.shape[-1] % side)).unflatten(-1, (-1, side)).sum(-1))
    return torch.stack(rows, -2)
