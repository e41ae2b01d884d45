"""Sliding Tile Attention, training-free: a window that moves over the video tile by tile, its shape chosen per head.

Zhang et al., "Fast Video Generation with Sliding Tile Attention", arXiv:2502.04507. Tokens are put in tile order, so
that a tile is a block and no block is half masked. Which window a head gets is found offline by
searches/sliding_tile.py. The fine-tuned variant needs training and is no part of this.

Deviations: any grid (the authors' kernels take three); an even window covers exactly its tiles, theirs one more; one
window for all steps of a head. All deviations: docs/methods/sliding_tile.md.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tile, Tiling, tile_of, tile_video
from videosieve.methods.parameters import ByHead, Window, share
from videosieve.methods.selection import entries_at, entries_of

LONG_TILE, SHORT_TILE = (6, 8, 8), (4, 4, 4)


@dataclass(frozen=True, slots=True)
class SlidingTile(Method):
    """A static window of tiles about the tile of the query.

    Attributes:
        density: Share of query–key pairs to keep, in (0, 1], where no window is given: see `window_for`.
        window: Tiles along frames, rows and columns that a query sees, its own included; more than there are mean
            all. None chooses it by density.
        head_windows: A window for every layer and head, `[layers][heads][3]`, in place of `window`; as
            `searches.sliding_tile.best_windows` finds them. None uses one window for all.
        tile: Longest sides of a tile, tokens along frames, rows and columns; None takes the paper's (6, 8, 8), or
            (4, 4, 4) below 16,384 tokens.
    """

    name: ClassVar[str] = "sliding_tile"

    density: Annotated[float, share("the share of query–key pairs to keep")] = 0.3
    window: Window | None = None
    head_windows: Annotated[tuple[tuple[Window, ...], ...], ByHead] | None = None
    tile: Tile | None = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """The static windows of this layer in tile order."""
        tile = tile_of(self.tile, call.layout, LONG_TILE, SHORT_TILE)
        tiling = tile_video(call.layout, tile, call.q.device)
        if self.head_windows is not None:
            windows = entries_of("head_windows", self.head_windows, call)
        else:
            volume = math.prod(tile)
            windows = (self.window or window_for(self.density, call.layout.in_whole_blocks(volume), tile),)
        return tiling.selection(windows_mask(tiling, windows)), state

    def known_densities(self, site: Site, layout: VideoLayout) -> tuple[float, ...] | None:
        """Those of the windows of `head_windows`, for this grid."""
        if self.head_windows is None:
            return None
        tiling = tile_video(layout, tile_of(self.tile, layout, LONG_TILE, SHORT_TILE), torch.device("cpu"))
        windows = entries_at("head_windows", self.head_windows, site)
        return tuple(_density(tiling, window) for window in windows)


@lru_cache(maxsize=64)
def windows_mask(tiling: Tiling, windows: tuple[Tile, ...]) -> BlockMask | RaggedBlockMask:
    """One window per head, or one for all; the same object for equal arguments, so that kernels can cache a plan."""
    shape = {window: window_tiles(tiling.counts, window) for window in set(windows)}
    keep = torch.stack([shape[window] for window in windows])
    return tiling.mask(keep[None].to(tiling.offsets.device))


def window_tiles(counts: Tile, window: Tile) -> Tensor:
    """Which tiles see one another.

    Args:
        counts: Tiles along frames, rows and columns.
        window: Tiles of the window along the same axes. At the border it is moved inwards, not cut.

    Returns:
        bool [tiles, tiles]; every row keeps equally many.
    """
    keep = torch.ones(1, 1, dtype=torch.bool)
    for count, wide in zip(counts, window, strict=True):
        wide = min(wide, count)
        place = torch.arange(count)
        first = (place - wide // 2).clamp(0, count - wide)[:, None]
        axis = (first <= place) & (place < first + wide)
        keep = (keep[:, None, :, None] & axis[None, :, None, :]).flatten(2).flatten(0, 1)
    return keep


@lru_cache(maxsize=16)
def window_for(density: float, layout: VideoLayout, tile: Tile) -> Tile:
    """The most even of the windows whose executed density is near the one asked for.

    Args:
        density: Share of query–key pairs to keep, in (0, 1].
        layout: Which token is which.
        tile: Longest sides of a tile.

    Returns:
        Of the windows at most a tenth of the density away, or else of those that come closest, the one with the
        most equal shares of the three axes.
    """
    tiling = tile_video(layout, tile, torch.device("cpu"))
    frames, rows, columns = (range(1, count + 1) for count in tiling.counts)
    windows: list[Tile] = list(product(frames, rows, columns))
    away = [abs(_density(tiling, window) - density) for window in windows]
    near = max(min(away), density / 10 if density < 1 else 0.0) + 1e-9

    def spread(window: Tile) -> tuple[float, float]:
        shares = [math.log(wide / count) for wide, count in zip(window, tiling.counts, strict=True)]
        return max(shares) - min(shares), away[windows.index(window)]

    return min((window for window, error in zip(windows, away, strict=True) if error <= near), key=spread)


def _density(tiling: Tiling, window: Tile) -> float:
    """Executed density of a window; tiles are taken as equal, which they are but for the rounding of their cuts."""
    share = math.prod(min(wide, count) / count for wide, count in zip(window, tiling.counts, strict=True))
    video = float(tiling.sizes[: tiling.video_blocks].sum() / tiling.tokens)
    return 1 - video**2 * (1 - share)
