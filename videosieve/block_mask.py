"""Which blocks of attention are computed: a boolean per query block × key block, per head."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from videosieve.errors import ShapeError


@dataclass(frozen=True, slots=True)
class BlockSize:
    """Sides of an attention block.

    Attributes:
        query: Query tokens in a block, at least 1.
        key: Key tokens in a block, at least 1.
    """

    query: int
    key: int

    def __post_init__(self) -> None:
        if self.query < 1 or self.key < 1:
            raise ShapeError(f"block sides must be at least one token, got {self.query=} and {self.key=}")


class CompactBlocks(NamedTuple):
    """The kept key blocks of every query block as a padded list.

    Attributes:
        indices: int32 [batch|1, heads|1, rows, most]; ascending key-block numbers, padded with 0.
        counts: int32 [batch|1, heads|1, rows]; how many of them are real.
    """

    indices: Tensor
    counts: Tensor


def compact_blocks(keep: Tensor) -> CompactBlocks:
    """Kept key blocks as padded index lists.

    Args:
        keep: bool [batch|1, heads|1, rows, columns].

    Returns:
        Ascending indices and counts of every row. On the CPU the lists are as long as the longest; elsewhere asking how
        long that is would make the host wait, and they have room for every block.
    """
    counts = keep.sum(-1, dtype=torch.int32)
    most = max(int(counts.max()), 1) if keep.device.type == "cpu" else keep.shape[-1]
    order = torch.sort(keep.to(torch.uint8), dim=-1, descending=True, stable=True).indices[..., :most]
    real = torch.arange(most, device=keep.device) < counts.unsqueeze(-1)
    return CompactBlocks(order.masked_fill(~real, 0).to(torch.int32), counts)


@dataclass(frozen=True)
class BlockMask:
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
    queries: int
    keys: int = -1

    def __post_init__(self) -> None:
        if self.keys == -1:
            object.__setattr__(self, "keys", self.queries)
        rows, columns = -(-self.queries // self.block.query), -(-self.keys // self.block.key)
        if self.keep.dtype != torch.bool or self.keep.ndim != 4 or self.keep.shape[-2:] != (rows, columns):
            raise ShapeError(
                f"keep must be bool [batch, heads, {rows}, {columns}] for {self.queries} queries × {self.keys} keys "
                f"in {self.block}; got {self.keep.dtype} {list(self.keep.shape)}"
            )

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

    @cached_property
    def head_density(self) -> Tensor:
        """float64 [batch|1, heads|1]; kept query–key pairs ÷ all pairs, partial blocks counted exactly."""
        pairs = torch.einsum(
            "bhrc,r,c->bh", self.keep.double(), self.query_sizes.double(), self.key_sizes.double()
        )
        return pairs / (self.queries * self.keys)

    @cached_property
    def density(self) -> float:
        """Kept pairs ÷ all pairs over all heads, in [0, 1]."""
        return float(self.head_density.mean())

    @cached_property
    def compact(self) -> CompactBlocks:
        """Kept key blocks as padded index lists, the form that kernels read."""
        return compact_blocks(self.keep)

    @cached_property
    def plans(self) -> dict[object, Any]:
        """What kernels derived from this mask and want to find again, by their own names; a mask never changes."""
        return {}

    def rows(self, tokens: Tensor) -> Tensor:
        """The mask of single query tokens over all keys.

        Args:
            tokens: int64 [rows]; query positions.

        Returns:
            bool [batch|1, heads|1, rows, keys].
        """
        blocks = self.keep[..., tokens // self.block.query, :]
        return blocks.repeat_interleave(self.block.key, dim=-1)[..., : self.keys]

    def to_dense(self) -> Tensor:
        """bool [batch|1, heads|1, queries, keys]; for tests and pictures of small sequences only."""
        return self.rows(torch.arange(self.queries, device=self.keep.device))


def _block_sizes(tokens: int, side: int, device: torch.device) -> Tensor:
    sizes = torch.full((-(-tokens // side),), side, device=device)
    sizes[-1] = tokens - side * (len(sizes) - 1)
    return sizes
