"""Orders of the sequence whose stretches of equal length are compact boxes of video: cubes.

A cube of frames × rows × columns is a piece of a *rod*: frames and rows are cut into parts as equal as can be, a rod is
one part of each across all columns, and tokens go along it column by column. Rods follow one another in a serpentine.
So every stretch of `frames · rows · columns` tokens is a box where the sides divide the grid, and nearly one everywhere
else: nothing is padded, all blocks have one size, and kernels need no ragged masks on any grid.
"""

from functools import lru_cache

import torch
from torch import Tensor

from videosieve.layout import VideoLayout
from videosieve.methods.parameters import Tile

CUBES: dict[int, tuple[Tile, ...]] = {
    32: ((2, 4, 4), (4, 2, 4), (4, 4, 2), (8, 2, 2), (1, 4, 8)),
    64: ((4, 4, 4), (2, 4, 8), (8, 4, 2), (2, 8, 4)),
    128: ((4, 4, 8), (2, 8, 8), (8, 4, 4), (4, 8, 4)),
}
"""Cubes worth trying for a block side, tokens along frames, rows and columns."""


def cube_name(cube: Tile) -> str:
    """A cube as people write it: 4×4×4."""
    return "×".join(map(str, cube))


def cubes_for(side: int) -> tuple[Tile, ...]:
    """The cubes to choose among: those known for a block side, else for the nearest, as long along columns as fits."""
    if side in CUBES:
        return CUBES[side]
    nearest = min(CUBES, key=lambda known: abs(known - side))
    return tuple((f, h, max(side // (f * h), 1)) for f, h, _ in CUBES[nearest])


@lru_cache(maxsize=16)
def cube_orders(layout: VideoLayout, cubes: tuple[Tile, ...], device: torch.device) -> Tensor:
    """Gather indices that walk the video cube by cube; text and extra tokens come behind it.

    Args:
        layout: Which token is which.
        cubes: Boxes of frames × rows × columns.
        device: Where the indices are needed.

    Returns:
        int64 [cubes, tokens]. A shared tensor: do not write to it.
    """
    return torch.stack([_order(layout, cube) for cube in cubes]).to(device)


def _order(layout: VideoLayout, cube: Tile) -> Tensor:
    grid = layout.grid
    frame_part, row_part = _cut(grid.frames, cube[0]), _cut(grid.height, cube[1])
    row_parts = int(row_part[-1]) + 1
    frame_part, row_part = frame_part.view(-1, 1, 1), row_part.view(1, -1, 1)
    row_part = torch.where(frame_part % 2 == 1, row_parts - 1 - row_part, row_part)
    rod = frame_part * row_parts + row_part
    column = torch.arange(grid.width).view(1, 1, -1)
    column = torch.where(rod % 2 == 1, grid.width - 1 - column, column)
    video = torch.argsort((rod * grid.width + column).flatten(), stable=True) + layout.video.start
    everything = torch.arange(layout.tokens)
    return torch.cat([video, everything[: layout.video.start], everything[layout.video.stop :]])


def _cut(tokens: int, longest: int) -> Tensor:
    """Part of every token when an axis is cut into the fewest parts of at most `longest`, as equal as can be."""
    parts = -(-tokens // longest)
    return torch.arange(tokens) * parts // tokens
