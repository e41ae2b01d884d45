"""Kept blocks of any size, different in every head: what clustering of tokens asks for."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.fields import Count, check_fields
from videosieve.masks.kept_blocks import KeptBlocks, check_plain
from videosieve.masks.upheld import Law, note_upheld, upholds


@dataclass(frozen=True)
class RaggedBlockMask(KeptBlocks):
    """Kept blocks of a queries × keys attention whose blocks differ in size and between heads.

    Block r of an axis holds tokens offsets[r] … offsets[r + 1] − 1; it may be empty. Size-1 batch and head axes are
    shared by all.

    Attributes:
        keep: bool [batch|1, heads|1, rows, columns].
        query_offsets: int64 [batch|1, heads|1, rows + 1]; 0, ascending, ends with the number of query tokens.
        key_offsets: int64 [batch|1, heads|1, columns + 1]; the same for keys.
        queries: Query tokens.
        keys: Key tokens; the number of queries where left out.

    Raises:
        ShapeError: The shapes or types do not fit together, or offsets (looked at on the CPU only, where it costs no
            synchronisation) do not ascend from 0 to the number of tokens.
    """

    keep: Tensor
    query_offsets: Tensor
    key_offsets: Tensor
    queries: Count
    keys: Count = -1

    def __post_init__(self) -> None:
        if type(self.keys) is int and self.keys == -1:
            object.__setattr__(self, "keys", self.queries)
        check_fields(self, ShapeError)
        for name in ("keep", "query_offsets", "key_offsets"):
            check_plain(name, getattr(self, name))
        if self.keep.dtype != torch.bool or self.keep.ndim != 4:
            raise ShapeError(
                f"keep must be bool [batch, heads, rows, columns], got {self.keep.dtype} {list(self.keep.shape)}"
            )
        for name, offsets, blocks, tokens in (
            ("query_offsets", self.query_offsets, self.keep.shape[2], self.queries),
            ("key_offsets", self.key_offsets, self.keep.shape[3], self.keys),
        ):
            _check_offsets(name, offsets, blocks, tokens)
        self.check_lead("query_offsets", self.query_offsets)
        self.check_lead("key_offsets", self.query_offsets, self.key_offsets)

    @cached_property
    def query_sizes(self) -> Tensor:
        """int64 [batch|1, heads|1, rows]; tokens in every query block."""
        return self.query_offsets.diff()

    @cached_property
    def key_sizes(self) -> Tensor:
        """int64 [batch|1, heads|1, columns]; tokens in every key block."""
        return self.key_offsets.diff()

    def rows(self, tokens: Tensor) -> Tensor:
        query_block = blocks_of(tokens, self.query_offsets)
        key_block = blocks_of(torch.arange(self.keys, device=self.keep.device), self.key_offsets)
        lead = torch.broadcast_shapes(self.keep.shape[:2], query_block.shape[:2], key_block.shape[:2])
        keep = self.keep.expand(*lead, -1, -1)
        rows = query_block.expand(*lead, -1).unsqueeze(-1).expand(-1, -1, -1, keep.shape[3])
        columns = key_block.expand(*lead, -1).unsqueeze(-2).expand(-1, -1, len(tokens), -1)
        return keep.gather(2, rows).gather(3, columns)


def blocks_of(tokens: Tensor, offsets: Tensor) -> Tensor:
    """Which block holds a token.

    Args:
        tokens: int64 [tokens]; positions.
        offsets: int64 [batch|1, heads|1, blocks + 1].

    Returns:
        int64 [batch|1, heads|1, tokens]; block numbers.
    """
    wanted = tokens.expand(*offsets.shape[:2], -1).contiguous()
    return torch.searchsorted(offsets[..., 1:].contiguous(), wanted, right=True)


def whole_offsets(offsets: Tensor, tokens: int) -> Tensor:
    """Offsets that ascend from 0 to the end, whatever was given: on a GPU nobody has looked at their values.

    Programs then stay inside the tensors and every token is in a block, where offsets were wrong numbers.

    Args:
        offsets: int64 [batch|1, heads|1, blocks + 1].
        tokens: Where they are to end.

    Returns:
        Offsets of the same shape; those given where they were right.
    """
    inner = offsets[..., 1:-1].clamp(0, tokens)
    inner = inner.cummax(-1).values if inner.shape[-1] else inner
    return torch.cat(
        [offsets.new_zeros(*offsets.shape[:-1], 1), inner, inner.new_full((*offsets.shape[:-1], 1), tokens)],
        -1,
    )


def whole_law(tokens: int) -> Law:
    """What offsets uphold that ascend from 0 to a number of tokens."""
    return ("ascends from 0 to", tokens)


def require_whole(name: str, offsets: Tensor, tokens: int) -> None:
    """Raise a ShapeError unless offsets [batch, heads, blocks + 1] ascend from 0 to the number of tokens."""
    law = whole_law(tokens)
    if upholds(offsets, law):
        return
    fits = (offsets[..., 0] == 0) & (offsets[..., -1] == tokens) & (offsets.diff() >= 0).all(-1)
    if not fits.all():
        batch, head = (~fits).nonzero()[0].tolist()
        raise ShapeError(
            f"{name} must ascend from 0 to {tokens} tokens; at {batch=}, {head=} they run "
            f"{offsets[batch, head].tolist()}"
        )
    note_upheld(offsets, law)


def _check_offsets(name: str, offsets: Tensor, blocks: int, tokens: int) -> None:
    if offsets.dtype != torch.int64 or offsets.ndim != 3 or offsets.shape[-1] != blocks + 1:
        raise ShapeError(
            f"{name} must be int64 [batch, heads, {blocks + 1}] for {blocks} blocks, "
            f"got {offsets.dtype} {list(offsets.shape)}"
        )
    if offsets.device.type == "cpu":
        require_whole(name, offsets, tokens)
