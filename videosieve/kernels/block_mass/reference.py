"""Block mass in plain PyTorch, one row of blocks at a time."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.masks.block_mask import BlockSize


def block_mass(q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, scale: float) -> Tensor:
    """Σ exp(scale · q·k − lse) of every block; shapes as in the api."""
    wide = torch.promote_types(q.dtype, torch.float32)
    keys = k.to(wide).mT
    rows = []
    for part, part_lse in zip(q.split(block.query, 2), lse.split(block.query, 2), strict=True):
        mass = (part.to(wide) @ keys * scale - part_lse.to(wide).unsqueeze(-1)).exp().sum(-2)
        rows.append(pad(mass, (0, -mass.shape[-1] % block.key)).unflatten(-1, (-1, block.key)).sum(-1))
    return torch.stack(rows, -2)
