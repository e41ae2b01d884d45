"""NABLA: block means say which blocks hold a share of the mass; a window of neighbours is computed in any case.

Mikhailov et al., "∇NABLA: Neighborhood Adaptive Block-Level Attention", arXiv:2507.13546, Algorithm 1. Tokens are put
in tiles of 8 × 8 of a frame, queries and keys are averaged over them, and of the softmax of the small map every row
keeps the fewest blocks that hold the threshold (the paper's CDF binarisation); joined with a Sliding Tile window.

The authors fine-tune models for it; here it runs on models that were never trained for it. Deviations: any grid (theirs
needs sides that 8 divides); text sees and is seen by all. docs/methods/nabla.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tile, tile_of, tile_video
from videosieve.methods.parameters import Window, share
from videosieve.methods.selection import top_p

TILE = (1, 8, 8)


@dataclass(frozen=True, slots=True)
class Nabla(Method):
    """Top-p of mean-pooled mass, and a window of tiles.

    Attributes:
        threshold: Share of the estimated mass to keep per row of tiles, in (0, 1], the tile that crosses it included.
            The authors' P.
        window: Tiles along frames, rows and columns about that of the query, computed in any case: those at most half a
            side away. The authors' wT, wH, wW. None computes no window.
        tile: Longest sides of a tile, tokens along frames, rows and columns; None takes the paper's (1, 8, 8).
    """

    name: ClassVar[str] = "nabla"

    threshold: Annotated[float, share("the share of estimated mass to keep per row of tiles")] = 0.6
    window: Window | None = (11, 3, 3)
    tile: Tile | None = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Algorithm 1: pool, softmax, binarise by the CDF, join with the window."""
        tiling = tile_video(call.layout, tile_of(self.tile, call.layout, TILE, TILE), call.q.device)
        mass = (tiling.means(call.q) @ tiling.means(call.k).mT * call.scale).softmax(-1)
        keep = top_p(mass, self.threshold)
        if self.window is not None:
            keep = keep | near_tiles(tiling.counts, self.window, call.q.device)
        return tiling.selection(tiling.mask(keep)), state


@lru_cache(maxsize=32)
def near_tiles(counts: Tile, window: Tile, device: torch.device) -> Tensor:
    """Tiles that lie at most half a window apart along every axis; cut at the border.

    Args:
        counts: Tiles along frames, rows and columns.
        window: Sides, tiles; an even one reaches as far as the next odd one.
        device: Where the result is needed.

    Returns:
        bool [tiles, tiles]. A shared tensor: do not write to it.
    """
    keep = torch.ones(1, 1, dtype=torch.bool)
    for count, wide in zip(counts, window, strict=True):
        place = torch.arange(count)
        axis = (place[:, None] - place).abs() <= wide // 2
        keep = (keep[:, None, :, None] & axis[None, :, None, :]).flatten(2).flatten(0, 1)
    return keep.to(device)
