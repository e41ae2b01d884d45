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
        causal: Whether query i sees key j only where j <= i + keys - queries: the last query sees every key.

    Raises:
        ShapeError: `keep` is not boolean or its shape does not follow from the rest, or a causal mask has more queries
            than keys.
    """

    keep: Tensor
    block: BlockSize
    queries: Count
    keys: Count = -1
    causal: bool = False

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
        if self.causal and self.keys < self.queries:
            raise ShapeError(
                f"a causal mask has at least as many keys as queries, the last of both belong together; "
                f"got {self.queries} queries and {self.keys} keys"
            )

    @classmethod
    def dense(
        cls,
        queries: int,
        block: BlockSize,
        keys: int = -1,
        device: torch.device | str = "cpu",
        causal: bool = False,
    ) -> "BlockMask":
        """Every block kept; one mask shared by all heads."""
        keys = queries if keys == -1 else keys
        shape = (1, 1, -(-queries // block.query), -(-keys // block.key))
        return cls(torch.ones(shape, dtype=torch.bool, device=device), block, queries, keys, causal)

    @cached_property
    def query_sizes(self) -> Tensor:
        """int64 [rows]; tokens in every query block."""
        return _block_sizes(self.queries, self.block.query, self.keep.device)

    @cached_property
    def key_sizes(self) -> Tensor:
        """int64 [columns]; tokens in every key block."""
        return _block_sizes(self.keys, self.block.key, self.keep.device)

    @cached_property
    def pairs(self) -> Tensor:
        """int64 [rows, columns]; query–key pairs of every block, those alone that are not ahead where it is causal."""
        if not self.causal:
            return self.query_sizes.unsqueeze(-1) * self.key_sizes
        return causal_pairs(self.queries, self.keys, self.block, self.keep.device)

    @cached_property
    def head_density(self) -> Tensor:
        """float64 [batch|1, heads|1]; kept pairs ÷ all pairs, of the causal half where it is causal."""
        if not self.causal:
            return super().head_density
        pairs = self.pairs.double()
        return (self.keep * pairs).sum((-1, -2)) / pairs.sum()

    @cached_property
    def diagonal(self) -> Tensor:
        """bool [rows, columns]; blocks that hold the own key of one of their queries: key i + keys − queries."""
        ahead, (rows, columns) = self.keys - self.queries, self.keep.shape[-2:]
        starts = torch.arange(rows, device=self.keep.device) * self.block.query + ahead
        last = starts + self.query_sizes - 1
        column = torch.arange(columns, device=self.keep.device)
        first, last = (x.div(self.block.key, rounding_mode="floor").unsqueeze(-1) for x in (starts, last))
        return (column >= first) & (column <= last)

    def rows(self, tokens: Tensor) -> Tensor:
        blocks = self.keep[..., tokens // min(self.block.query, self.queries), :]
        seen = blocks.repeat_interleave(min(self.block.key, self.keys), dim=-1)[..., : self.keys]
        if not self.causal:
            return seen
        own = tokens.unsqueeze(-1) + (self.keys - self.queries)
        return seen & (torch.arange(self.keys, device=tokens.device) <= own).to(seen.device)


def causal_pairs(queries: int, keys: int, block: BlockSize, device: torch.device | str = "cpu") -> Tensor:
    """Query–key pairs of every block in which the key is not ahead of the query.

    Args:
        queries: Query tokens.
        keys: Key tokens, at least as many; the last of both belong together.
        block: Block sides, tokens.
        device: Where the result is needed.

    Returns:
        int64 [rows, columns]. They add up to queries · (keys − queries) + queries · (queries + 1) / 2.
    """
    rows, columns = -(-queries // block.query), -(-keys // block.key)
    edges = (torch.arange(rows + 1, device=device) * block.query).clamp(max=queries)
    starts = torch.arange(columns, device=device) * min(block.key, keys)
    width = (keys - starts).clamp(max=block.key)
    # Query i sees i + shift keys of a column, cut to [0, width]: summed over i < edge, then between edges.
    shift = keys - queries + 1 - starts
    seen = (edges.unsqueeze(-1) + shift).clamp(min=0)
    rising = torch.minimum(seen, width + 1)
    total = rising * (rising - 1) // 2 + (seen - rising) * width
    return total.diff(dim=0)


def _block_sizes(tokens: int, side: int, device: torch.device) -> Tensor:
    sizes = torch.full((-(-tokens // side),), min(side, tokens), device=device)
    sizes[-1] = tokens - side * (len(sizes) - 1)
    return sizes
