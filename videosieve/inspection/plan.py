"""What is looked at: which query rows, in which cells they are pooled, and which single patches are kept.

Two numbers say what is exact. Up to `EXACT_TOKENS` tokens every query row is computed, one stretch of rows after the
other; above, `SAMPLED_ROWS` rows, one from each of as many equal stretches. A row is always exact: a softmax over all
keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.layout import Grid, VideoLayout, inverse_order

MOST_CELLS = 128  # cells on a side of a map
EXACT_TOKENS = 16_384
SAMPLED_ROWS = 4_096
SCORES_AT_ONCE = 2**24  # rows × keys of one pass, 4 bytes each
KEY_CELLS = 4_096  # of the video, into which the keys of a patch are pooled
PATCH_FRAMES = 4
LOWEST, HIGHEST = -4.0, 8.0  # log2 of the ratios that fit into a byte


@dataclass(frozen=True, slots=True)
class Patches:
    """Query tokens on a regular grid, and the cells into which their keys are pooled.

    Attributes:
        frames: Token frames with queries, ascending.
        rows: Token rows with queries, ascending.
        columns: Token columns with queries, ascending.
        pool: Tokens in a key cell: frames, rows, columns.
        grid: The video's tokens.
    """

    frames: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    pool: tuple[int, int, int]
    grid: Grid

    @classmethod
    def choose(cls, grid: Grid, most: int) -> "Patches":
        """The finest grid of at most `most` queries in up to `PATCH_FRAMES` frames: the middle tokens of patches."""
        count = min(PATCH_FRAMES, grid.frames, max(1, most // 16))
        frames = [round(i * (grid.frames - 1) / max(count - 1, 1)) for i in range(count)]
        side = 1
        while count * len(_middles(grid.height, side)) * len(_middles(grid.width, side)) > most:
            side += 1
            if side > max(grid.height, grid.width):
                break
        rows, columns = (tuple(_middles(extent, side)) for extent in (grid.height, grid.width))
        return cls(tuple(frames), rows, columns, _pool(grid), grid)

    @property
    def cells(self) -> tuple[int, int, int]:
        """Key cells: frames, rows, columns."""
        sides = (self.grid.frames, self.grid.height, self.grid.width)
        frames, rows, columns = (-(-side // part) for side, part in zip(sides, self.pool, strict=True))
        return frames, rows, columns

    def tokens(self, layout: VideoLayout) -> Tensor:
        """Sequence positions of the queries, int64 [frames × rows × columns]."""
        frames, rows, columns = (torch.tensor(x) for x in (self.frames, self.rows, self.columns))
        places = (frames[:, None, None] * self.grid.height + rows[:, None]) * self.grid.width + columns
        return layout.video.start + places.flatten()

    def pool_keys(self, mass: Tensor) -> Tensor:
        """Mean mass of a token in every key cell: [queries, video tokens] → [queries, *cells]."""
        grid = (self.grid.frames, self.grid.height, self.grid.width)
        return self._sum(mass.unflatten(-1, grid)) / self._sum(mass.new_ones(1, *grid))

    def _sum(self, mass: Tensor) -> Tensor:
        for axis, (cells, part) in enumerate(zip(self.cells, self.pool, strict=True), 1):
            spare = cells * part - mass.shape[axis]
            padded = pad(mass.movedim(axis, -1), (0, spare))
            mass = padded.unflatten(-1, (cells, part)).sum(-1).movedim(-1, axis)
        return mass


@dataclass(frozen=True)
class Plan:
    """How one layout is looked at.

    Attributes:
        layout: Which token is which.
        rows: Query positions whose attention is computed, ascending int64.
        side: Tokens in a cell of a map.
        patches: Queries that are kept one by one.
    """

    layout: VideoLayout
    rows: Tensor
    side: int
    patches: Patches

    @classmethod
    def of(cls, layout: VideoLayout, cells: int = MOST_CELLS, patches: int = 256) -> "Plan":
        """Plan for a layout.

        Args:
            layout: Which token is which.
            cells: Cells on a side of a map, at most.
            patches: Single queries to keep, at most.

        Returns:
            The plan; the same for the same arguments.
        """
        rows = torch.arange(layout.tokens)
        if layout.tokens > EXACT_TOKENS:
            edges = torch.arange(SAMPLED_ROWS + 1) * layout.tokens // SAMPLED_ROWS
            places = torch.rand(SAMPLED_ROWS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            rows = edges[:-1] + (places * edges.diff()).long()
        return cls(layout, rows, -(-layout.tokens // cells), Patches.choose(layout.grid, patches))

    @property
    def exact(self) -> bool:
        """Whether every query row is computed."""
        return len(self.rows) == self.layout.tokens

    @property
    def cells(self) -> int:
        """Cells on a side of a map."""
        return -(-self.layout.tokens // self.side)

    @cached_property
    def orders(self) -> tuple[Tensor, Tensor]:
        """Gather indices of the two pictures: frame-major (the model's own) and token-major."""
        return torch.arange(self.layout.tokens), self.layout.token_major_order()

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Where a token lies in either order."""
        frame_major, token_major = (inverse_order(order) for order in self.orders)
        return frame_major, token_major

    def parts(self, rows: Tensor) -> Iterator[Tensor]:
        """Rows in stretches whose scores fit into memory."""
        yield from rows.split(max(1, SCORES_AT_ONCE // self.layout.tokens))


def encode_ratios(ratios: Tensor) -> Tensor:
    """Ratios to uniform attention as bytes: log2 from 1/16 to 256 in 255 steps, 3.3 % each."""
    logs = ratios.clamp_min(2.0**LOWEST).log2().clamp_max(HIGHEST)
    return ((logs - LOWEST) / (HIGHEST - LOWEST) * 255).round().to(torch.uint8)


def decode_ratios(codes: Tensor) -> Tensor:
    """The inverse of `encode_ratios`, up to rounding."""
    return torch.exp2(codes.float() / 255 * (HIGHEST - LOWEST) + LOWEST)


def _middles(extent: int, side: int) -> range:
    """The middle of every stretch of `side`; the last stretch may be short."""
    return range(min(side // 2, extent - 1), extent, side)


def _pool(grid: Grid) -> tuple[int, int, int]:
    """Sides of the smallest key cells of which there are at most KEY_CELLS; space is given up before time."""
    frames, side = 1, 1
    while -(-grid.frames // frames) > KEY_CELLS // 16:
        frames += 1
    while -(-grid.frames // frames) * -(-grid.height // side) * -(-grid.width // side) > KEY_CELLS:
        side += 1
    return frames, side, side
