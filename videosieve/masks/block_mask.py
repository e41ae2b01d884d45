"""Which blocks of attention are computed: a boolean per query block × key block, per head."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.fields import Count, In, check_fields
from videosieve.masks.kept_blocks import KeptBlocks, check_plain

Side = Annotated[int, In("[1, inf)", "must be a whole number: a block side has at least one token")]


@dataclass(frozen=True, slots=True)
class BlockSize:
    """Sides of an attention block.

    Attributes:
        query: Query tokens in a block, at least 1.
        key: Key tokens in a block, at least 1.
    """

    query: Side
    key: Side

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)


@dataclass(frozen=True)
class BlockMask(KeptBlocks):
    """Kept blocks of a queries × keys attention.

    The last block of either axis may be partial. Size-1 batch and head axes are shared by all.

    Attributes:
        keep: bool [batch|1, heads|1, ceil(queries / block.query), ceil(keys / block.key)].
        block: Block sides, tokens.
        queries: Query tokens.
        keys: Key tokens; the number of queries where left out.

    Raises:
        ShapeError: `keep` is not boolean or its shape does not follow from the rest.
    """

    keep: Tensor
    block: BlockSize
    queries: Count
    keys: Count = -1

    def __post_init__(self) -> None:
        if type(self.keys) is int and self.keys == -1:
            object.__setattr__(self, "keys", self.queries)
        check_fields(self, ShapeError)
        check_plain("keep", self.keep)
        rows, columns = -(-self.queries // self.block.query), -(-self.keys // self.block.key)
        if self.keep.dtype != torch.bool or self.keep.ndim != 4 or self.keep.shape[-2:] != (rows, columns):
            raise ShapeError(
                f"keep must be bool [batch, heads, {rows}, {columns}] for {self.queries} queries × {self.keys} keys "
                f"in {self.block}; got {self.keep.dtype} {list(self.keep.shape)}"
            )
        self.check_lead("keep", self.keep)

    @classmethod
    def dense(
        cls, queries: int, block: BlockSize, keys: int = -1, device: torch.device | str = "cpu"
    ) -> "BlockMask":
        """Every block kept; one mask shared by all heads."""
        keys = queries if keys == -1 else keys
        shape = (1, 1, -(-queries // block.query), -(-keys // block.key))
        return cls(torch.ones(shape, dtype=torch.bool, device=device), block, queries, keys)

    @cached_property
    def query_sizes(self) -> Tensor:
        """int64 [rows]; tokens in every query block."""
        return _block_sizes(self.queries, self.block.query, self.keep.device)

    @cached_property
    def key_sizes(self) -> Tensor:
        """int64 [columns]; tokens in every key block."""
        return _block_sizes(self.keys, self.block.key, self.keep.device)

    def rows(self, tokens: Tensor) -> Tensor:
        blocks = self.keep[..., tokens // min(self.block.query, self.queries), :]
        return blocks.repeat_interleave(min(self.block.key, self.keys), dim=-1)[..., : self.keys]


def _block_sizes(tokens: int, side: int, device: torch.device) -> Tensor:
    sizes = torch.full((-(-tokens // side),), min(side, tokens), device=device)
    sizes[-1] = tokens - side * (len(sizes) - 1)
    return sizes
