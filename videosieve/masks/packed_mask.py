"""A block mask with one bit per block: what a method keeps from step to step."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.masks.block_mask import BlockMask, BlockSize


@dataclass(frozen=True, slots=True)
class PackedMask:
    """A block mask at an eighth of its size.

    Attributes:
        bits: uint8 [batch, heads, rows, ceil(columns / 8)]; the lowest bit is the first of eight key blocks.
        block: Block sides, tokens.
        queries: Query tokens.
        keys: Key tokens.
    """

    bits: Tensor
    block: BlockSize
    queries: int
    keys: int

    @classmethod
    def of(cls, mask: BlockMask) -> "PackedMask":
        """Pack a mask."""
        eights = pad(mask.keep, (0, -mask.keep.shape[-1] % 8)).unflatten(-1, (-1, 8))
        bits = (eights.to(torch.uint8) << _places(mask.keep.device)).sum(-1, dtype=torch.uint8)
        return cls(bits, mask.block, mask.queries, mask.keys)

    def unpack(self) -> BlockMask:
        """The mask that was packed."""
        keep = (self.bits.unsqueeze(-1) >> _places(self.bits.device) & 1).bool().flatten(-2)
        return BlockMask(keep[..., : -(-self.keys // self.block.key)], self.block, self.queries, self.keys)


def _places(device: torch.device) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)
