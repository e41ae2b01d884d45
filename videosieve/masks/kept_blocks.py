"""What masks of equal and of ragged blocks have in common: density, index lists for kernels, the mask of every pair."""

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor


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


class KeptBlocks:
    """The kept blocks of a queries × keys attention; the subclasses say which tokens a block holds.

    Attributes:
        keep: bool [batch|1, heads|1, rows, columns].
        queries: Query tokens.
        keys: Key tokens.
    """

    keep: Tensor
    queries: int
    keys: int

    @cached_property
    def query_sizes(self) -> Tensor:
        """int64 [(batch|1, heads|1,) rows]; tokens in every query block."""
        raise NotImplementedError

    @cached_property
    def key_sizes(self) -> Tensor:
        """int64 [(batch|1, heads|1,) columns]; tokens in every key block."""
        raise NotImplementedError

    @cached_property
    def head_density(self) -> Tensor:
        """float64 [batch|1, heads|1]; kept query–key pairs ÷ all pairs, partial blocks counted exactly."""
        kept_keys = (self.keep.double() @ self.key_sizes.double().unsqueeze(-1)).squeeze(-1)
        return (kept_keys * self.query_sizes.double()).sum(-1) / (self.queries * self.keys)

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
        raise NotImplementedError

    def to_dense(self) -> Tensor:
        """bool [batch|1, heads|1, queries, keys]; for tests and pictures of small sequences only."""
        return self.rows(torch.arange(self.queries, device=self.keep.device))
