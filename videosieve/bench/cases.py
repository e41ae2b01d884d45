"""What is timed: shapes, masks and the densities they aim at."""

from dataclasses import dataclass
from typing import Literal

import torch

from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import band_mask, random_mask

Pattern = Literal["band", "band + text", "random", "random per head"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Tensors of one attention call, batch 1.

    Attributes:
        name: Shown in the table.
        layout: Which token is which.
        heads: Heads.
        head_dim: Values per head.
    """

    name: str
    layout: VideoLayout
    heads: int
    head_dim: int

    @property
    def tokens(self) -> int:
        return self.layout.tokens


@dataclass(frozen=True, slots=True)
class Case:
    """One mask on one shape.

    Attributes:
        shape: The tensors.
        pattern: How blocks are kept; "band + text" keeps the last block row and column too.
        side: Side of a block, tokens.
        density: Aimed at; the exact one is measured.
    """

    shape: Shape
    pattern: Pattern
    side: int
    density: float

    def make_mask(self) -> BlockMask:
        """The mask; among bands the one whose density is nearest."""
        tokens, block = self.shape.tokens, BlockSize(self.side, self.side)
        if self.pattern.startswith("random"):
            heads = self.shape.heads if self.pattern == "random per head" else 1
            generator = torch.Generator().manual_seed(0)
            return random_mask(tokens, tokens, block, self.density, heads=heads, generator=generator)
        sink = int(self.pattern == "band + text")
        bands = (band_mask(tokens, block, width, sink=sink) for width in range(0, tokens, self.side))
        return min(bands, key=lambda mask: abs(mask.density - self.density))


BUNDLED = Shape(
    "1,048 tokens × 6 heads × 32, bundled model", VideoLayout.of(16, 8, 8, text_last=24), heads=6, head_dim=32
)
LONG_64 = Shape("8,192 tokens × 4 heads × 64", VideoLayout.of(8, 32, 32), heads=4, head_dim=64)
LONG_128 = Shape("8,192 tokens × 4 heads × 128", VideoLayout.of(8, 32, 32), heads=4, head_dim=128)

CASES = [
    *(Case(BUNDLED, "band + text", side, 0.3) for side in (32, 64)),
    *(
        Case(shape, pattern, side, 0.25)
        for shape in (LONG_64, LONG_128)
        for pattern in ("band", "random per head")
        for side in (128, 64)
    ),
]
QUICK_CASES = [Case(BUNDLED, "band + text", 64, 0.3), Case(LONG_64, "band", 128, 0.25)]
