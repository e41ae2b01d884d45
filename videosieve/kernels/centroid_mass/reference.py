"""Centroid mass in plain PyTorch, a few queries at a time."""

import torch
from torch import Tensor

from videosieve.masks.ragged_mask import blocks_of

ROWS = 1024  # queries whose scores are in memory at a time


def centroid_mass(
    q: Tensor, keys: Tensor, log_sizes: Tensor, offsets: Tensor, scale: float, order: Tensor | None
) -> Tensor:
    """Mean over the queries of every block of softmax(scale · q·k̄ + ln n); shapes as in the api."""
    batch, heads, queries, head_dim = q.shape
    wide = torch.promote_types(q.dtype, torch.float32)
    if order is not None:
        order = order if order.ndim == 3 else order.view(1, 1, -1)
        q = q.gather(2, order.expand(batch, heads, -1).unsqueeze(-1).expand(-1, -1, -1, head_dim))
    block = blocks_of(torch.arange(queries, device=q.device), offsets).expand(batch, heads, -1)
    columns = keys.shape[2]
    mass = q.new_zeros(batch, heads, offsets.shape[-1] - 1, columns, dtype=wide)
    for rows in torch.arange(queries, device=q.device).split(ROWS):
        scores = q[:, :, rows].to(wide) @ keys.to(wide).mT * scale + log_sizes.to(wide).unsqueeze(-2)
        index = block[:, :, rows].unsqueeze(-1).expand(-1, -1, -1, columns)
        mass = mass.scatter_add(2, index, scores.softmax(-1))
    return mass / offsets.diff().clamp(min=1).to(wide).unsqueeze(-1)
