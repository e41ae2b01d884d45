"""The sequence cut into tiles: what Sliding Tile, Draft, VSA's coarse stage and Radial Attention share.

A tiling puts the video first, tile after tile, and everything else (text, extra) behind it. A video that tiles do not
divide is cut into tiles as equal as can be, so every grid is served and no token is padded; where all tiles have one
size the mask is a plain `BlockMask`, else a `RaggedBlockMask`. What lies outside the video sees and is seen by all.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.layout import VideoLayout, inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import LONG_SEQUENCE
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Selection, TokenOrder
from videosieve.methods.parameters import Tile

VALUES_AT_ONCE = 2**22
"""Gathered values (batch × heads × tokens × head_dim) per pass of `Tiling.means`."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiling:
    """A token order and where its blocks end. Shared between calls: do not write to its tensors.

    Attributes:
        order: int64 [tokens]; gather index, video first. None where that is the order of the sequence.
        offsets: int64 [1, 1, blocks + 1]; where blocks begin in that order, and the end.
        counts: Tiles of the video along frames, rows and columns; their product is the number of video blocks.
        side: Tokens of every block but the last, where they are equal; else None.
        tokens: Length of the sequence.
    """

    order: Tensor | None
    offsets: Tensor
    counts: Tile
    side: int | None
    tokens: int
    inverse: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inverse", None if self.order is None else inverse_order(self.order))

    @property
    def video_blocks(self) -> int:
        return prod(self.counts)

    @property
    def sizes(self) -> Tensor:
        """int64 [blocks]; tokens of every block."""
        return self.offsets[0, 0].diff()

    def mask(self, keep: Tensor) -> BlockMask | RaggedBlockMask:
        """The mask of all blocks from that of the video's; blocks outside the video are kept, rows and columns.

        Args:
            keep: bool [batch|1, heads|1, video blocks, video blocks].
        """
        outside = self.offsets.shape[-1] - 1 - self.video_blocks
        keep = pad(keep, (0, outside, 0, outside), value=True)
        if self.side is not None:
            return BlockMask(keep, BlockSize(self.side, self.side), self.tokens)
        return RaggedBlockMask(keep, self.offsets, self.offsets, self.tokens)

    def selection(self, mask: BlockMask | RaggedBlockMask) -> Selection:
        """A selection of `mask` in this order."""
        if self.order is None:
            return Selection(mask)
        return Selection(mask, TokenOrder(self.order, inverse=self.inverse), TokenOrder(self.order))

    def means(self, x: Tensor) -> Tensor:
        """Mean token of every video block: fp32 [batch, heads, video blocks, head_dim] of x [..., tokens, head_dim]."""
        sizes = self.sizes[: self.video_blocks]
        means = torch.empty(*x.shape[:2], len(sizes), x.shape[3], device=x.device)
        for size in sizes.unique().tolist():
            blocks = (sizes == size).nonzero()[:, 0]
            places = self.offsets[0, 0, blocks, None] + torch.arange(size, device=x.device)
            tokens = places if self.order is None else self.order[places]
            at_once = max(VALUES_AT_ONCE // (x.shape[0] * x.shape[1] * size * x.shape[3]), 1)
            for some, part in zip(blocks.split(at_once), tokens.split(at_once), strict=True):
                gathered = x[:, :, part.flatten()].unflatten(2, part.shape)
                means[:, :, some] = gathered.mean(3, dtype=torch.float32)
        return means


def tile_of(tile: Tile | None, layout: VideoLayout, long: Tile, short: Tile) -> Tile:
    """The tile of a call: as given, else `long`, or `short` below LONG_SEQUENCE tokens."""
    return tile or (long if layout.tokens >= LONG_SEQUENCE else short)


@lru_cache(maxsize=16)
def tile_video(layout: VideoLayout, tile: Tile, device: torch.device) -> Tiling:
    """Cut the video into boxes of frames × rows × columns.

    Args:
        layout: Which token is which.
        tile: Longest sides of a box, tokens. An axis is cut into as few parts as that allows, as equal as can be.
        device: Where the tensors are needed.

    Returns:
        The tiling; tiles frame-major, tokens frame-major inside a tile.
    """
    grid = layout.grid
    axes = [_cut(n, side) for n, side in zip((grid.frames, grid.height, grid.width), tile, strict=True)]
    counts = (int(axes[0][-1]) + 1, int(axes[1][-1]) + 1, int(axes[2][-1]) + 1)
    frame, row, column = (x.view(shape) for x, shape in zip(axes, ((-1, 1, 1), (-1, 1), (-1,)), strict=True))
    number = (frame * counts[1] + row) * counts[2] + column
    return _tiling(layout, number.flatten(), counts, prod(tile), device)


@lru_cache(maxsize=16)
def tile_frames(layout: VideoLayout, side: int, device: torch.device) -> Tiling:
    """Cut every frame into the same stretches of consecutive tokens, at most `side` tokens long.

    Args:
        layout: Which token is which.
        side: Longest stretch, tokens.
        device: Where the tensors are needed.

    Returns:
        The tiling; its counts are (frames, 1, stretches per frame).
    """
    place = _cut(layout.grid.tokens_per_frame, side)
    counts = (layout.grid.frames, 1, int(place[-1]) + 1)
    number = torch.arange(layout.grid.frames)[:, None] * counts[2] + place
    return _tiling(layout, number.flatten(), counts, side, device)


def _cut(tokens: int, longest: int) -> Tensor:
    """Part of every token when an axis is cut into the fewest parts of at most `longest`, as equal as can be."""
    parts = -(-tokens // longest)
    edges = torch.arange(1, parts) * tokens // parts
    return torch.bucketize(torch.arange(tokens), edges, right=True)


def _tiling(layout: VideoLayout, number: Tensor, counts: Tile, side: int, device: torch.device) -> Tiling:
    """From the tile number of every video token."""
    everything = torch.arange(layout.tokens)
    video = everything[layout.video][torch.argsort(number, stable=True)]
    rest = torch.cat([everything[: layout.video.start], everything[layout.video.stop :]])
    order = torch.cat([video, rest])
    sizes = torch.bincount(number)
    side = int(sizes[0]) if (sizes == sizes[0]).all() else side
    outside = [min(side, len(rest) - start) for start in range(0, len(rest), side)]
    sizes = torch.cat([sizes, torch.tensor(outside, dtype=torch.int64)])
    offsets = pad(sizes.cumsum(0), (1, 0))
    return Tiling(
        None if torch.equal(order, everything) else order.to(device),
        offsets[None, None].to(device),
        counts,
        side if (sizes[:-1] == side).all() else None,
        layout.tokens,
    )
