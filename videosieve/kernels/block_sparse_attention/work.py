"""What the programs of one launch read: lists of kept blocks, tiles of queries, and the order in which tiles run.

Everything is computed on the device of the mask without looking at a value, so no call waits for the GPU.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention.triton_kernel_lists import list_kept_blocks
from videosieve.kernels.launch import COMPILER_OPTIONS
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask, whole_offsets

# Tiles whose work differs by less than 1/32 of the most run in sequence order: neighbours share keys in the cache.
LEVELS = 32
CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Work:
    """Lists of one mask for one tile size. Lead axes of size 1 are shared; all others are those of the call.

    Attributes:
        indices: int32 [batch|1, heads|1, rows, columns]; kept key blocks, ascending; undefined past their number.
        counts: int32 [batch|1, heads|1, rows]; kept key blocks, or the key tiles they fill where the mask is ragged.
        jobs: int32 [batch · heads · tiles]; query tiles, those with the most keys first.
        tiles: Query tiles per head.
        whole_counts: int32, shaped like counts; kept key blocks of which every query of the row sees every key, the
            first in the list. Causal masks only, whose `counts` leave out blocks that lie ahead.
        tile_rows: int32 [batch|1, heads|1, tiles]; query block of every tile. Ragged masks only, as all below.
        tile_starts: int32 [batch|1, heads|1, tiles]; its first query; past the end for tiles that do not exist.
        query_offsets: int32 [batch|1, heads|1, rows + 1].
        key_offsets: int32 [batch|1, heads|1, columns + 1].
    """

    indices: Tensor
    counts: Tensor
    jobs: Tensor
    tiles: int
    whole_counts: Tensor | None = None
    tile_rows: Tensor | None = None
    tile_starts: Tensor | None = None
    query_offsets: Tensor | None = None
    key_offsets: Tensor | None = None


def find_work(mask: BlockMask | RaggedBlockMask, batch: int, heads: int, tile: tuple[int, ...]) -> Work:
    """The lists of a mask, made at its first use.

    Args:
        mask: The kept blocks.
        batch: Batch size of the tensors.
        heads: Heads of the tensors.
        tile: Queries and keys per step of a program.

    Returns:
        The lists, on the device of the mask.
    """
    name = ("block_sparse_attention.triton", batch, heads, tile)
    work = mask.plans.get(name)
    if work is None:
        if isinstance(mask, RaggedBlockMask):
            work = _ragged_work(mask, batch, heads, tile)
        else:
            work = _uniform_work(mask, batch, heads, tile)
        mask.plans[name] = work
    return work


def _uniform_work(mask: BlockMask, batch: int, heads: int, tile: tuple[int, ...]) -> Work:
    bm, bn = tile
    keep, whole_counts = mask.keep, None
    if mask.causal:
        whole = mask.pairs == mask.query_sizes.unsqueeze(-1) * mask.block.key  # a partial last block is not
        whole_counts = (keep & whole).sum(-1, dtype=torch.int32)
        keep = keep & (mask.pairs > 0)
    indices, counts = list_blocks(keep, None, bn)
    tiles = counts.shape[-1] * (mask.block.query // bm)
    cost = counts.repeat_interleave(mask.block.query // bm, dim=-1)
    return Work(indices, counts, _heaviest_first(cost.expand(batch, heads, -1)), tiles, whole_counts)


def _ragged_work(mask: RaggedBlockMask, batch: int, heads: int, tile: tuple[int, ...]) -> Work:
    bm, bn = tile
    lead = torch.broadcast_shapes(
        mask.keep.shape[:2], mask.query_offsets.shape[:2], mask.key_offsets.shape[:2]
    )
    query_offsets, key_offsets = (
        whole_offsets(offsets, tokens).expand(*lead, -1).to(torch.int32).contiguous()
        for offsets, tokens in ((mask.query_offsets, mask.queries), (mask.key_offsets, mask.keys))
    )
    indices, counts = list_blocks(mask.keep.expand(*lead, -1, -1), key_offsets.diff(), bn)
    rows = counts.shape[-1]
    tiles = -(-mask.queries // bm) + rows  # every block may end in a partial tile
    ends = ((query_offsets.diff() + (bm - 1)) // bm).cumsum(-1, dtype=torch.int32)
    number = torch.arange(tiles, dtype=torch.int32, device=ends.device).expand(*lead, -1).contiguous()
    row = torch.searchsorted(ends, number, right=True)
    real, row = row < rows, row.clamp(max=rows - 1)
    first = torch.nn.functional.pad(ends, (1, -1)).gather(-1, row)  # tile with which the block begins
    start = query_offsets.gather(-1, row) + (number - first) * bm
    cost = torch.where(real, counts.gather(-1, row), -1).expand(batch, heads, -1)
    start = torch.where(real, start, mask.queries).to(torch.int32)
    return Work(
        indices,
        counts,
        _heaviest_first(cost),
        tiles,
        tile_rows=row.to(torch.int32),
        tile_starts=start,
        query_offsets=query_offsets,
        key_offsets=key_offsets,
    )


def list_blocks(keep: Tensor, sizes: Tensor | None, bn: int) -> tuple[Tensor, Tensor]:
    """Numbers of the true blocks of every row, ascending, and how many; as `list_kept_blocks` makes them.

    Args:
        keep: bool [batch|1, heads|1, rows, columns].
        sizes: int32 tokens of every block, where empty ones are to be left out and tiles counted.
        bn: Keys of a tile.

    Returns:
        int32 [batch|1, heads|1, rows, columns], undefined past their number, and int32 [batch|1, heads|1, rows].
    """
    indices = torch.empty(keep.shape, dtype=torch.int32, device=keep.device)
    counts = torch.empty(keep.shape[:-1], dtype=torch.int32, device=keep.device)
    arguments = listing_arguments(keep, sizes, indices, counts, bn)
    list_kept_blocks[(counts.numel(),)](**arguments, **COMPILER_OPTIONS)
    return indices, counts


def listing_arguments(
    keep: Tensor, sizes: Tensor | None, indices: Tensor, counts: Tensor, bn: int
) -> dict[str, Any]:
    """Arguments of `list_kept_blocks`; what runs and what is compiled ahead of time."""
    rows, columns = keep.shape[-2:]
    return dict(
        **dict(keep=keep.contiguous().view(torch.uint8), sizes=sizes, indices=indices, counts=counts),
        **dict(rows=rows, columns=columns),
        **dict(BN=bn, SIZED=sizes is not None, CHUNK=min(CHUNK, 1 << (columns - 1).bit_length())),
    )


def _heaviest_first(cost: Tensor) -> Tensor:
    """Long tiles must not start last, and heads of different density must not wait for one another."""
    level = cost.flatten() * LEVELS // cost.max().clamp(min=1)
    return level.argsort(descending=True, stable=True).to(torch.int32)
