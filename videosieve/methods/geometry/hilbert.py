"""A Hilbert curve through the video: consecutive tokens are neighbours in space and time.

Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004): the transposed index of a point, by
exclusive-ors alone. A grid that is no cube takes the curve of the smallest cube of a power of two around it.
"""

from functools import lru_cache

import torch
from torch import Tensor

from videosieve.layout import Grid, VideoLayout


def hilbert_index(grid: Grid) -> Tensor:
    """Place of every token on the curve, int64 [tokens]; distinct, ascending along the curve, with gaps."""
    sides = (grid.frames, grid.height, grid.width)
    bits = max(max(sides) - 1, 1).bit_length()
    axes = [axis.flatten() for axis in torch.meshgrid(*map(torch.arange, sides), indexing="ij")]
    for level in range(bits - 1, 0, -1):  # from the whole cube down: undo the turns of the sub-cubes
        low = (1 << level) - 1
        for i, axis in enumerate(axes):
            flip = (axis >> level) & 1 == 1
            swap = torch.where(flip, 0, (axes[0] ^ axis) & low)
            axes[0] = torch.where(flip, axes[0] ^ low, axes[0] ^ swap)
            if i:
                axes[i] = axis ^ swap
    axes[1] = axes[1] ^ axes[0]
    axes[2] = axes[2] ^ axes[1]
    gray = torch.zeros_like(axes[0])
    for level in range(bits - 1, 0, -1):
        gray ^= torch.where((axes[2] >> level) & 1 == 1, (1 << level) - 1, 0)
    index = torch.zeros_like(gray)
    for level in range(bits - 1, -1, -1):
        for axis in axes:
            index = (index << 1) | (((axis ^ gray) >> level) & 1)
    return index


@lru_cache(maxsize=16)
def hilbert_order(layout: VideoLayout, device: torch.device) -> Tensor:
    """Gather index that puts the video's tokens along the curve; others keep their places.

    Args:
        layout: Which token is which.
        device: Where the index is needed.

    Returns:
        int64 [tokens]. A shared tensor: do not write to it.
    """
    order = torch.arange(layout.tokens)
    order[layout.video] = layout.video.start + hilbert_index(layout.grid).argsort()
    return order.to(device)
