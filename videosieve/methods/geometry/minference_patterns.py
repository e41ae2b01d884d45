"""The shapes of MInference for video: A-shape, vertical-slash, block-sparse, all in blocks and sized to one density.

The estimates are Algorithms 2 and 3 of arXiv:2407.02490; deviations are listed in docs/methods/minference.md.
"""

from functools import lru_cache

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods.estimates.sampled_rows import sample_rows, stratified_rows
from videosieve.methods.geometry.band import closest_width, nearest_pairs
from videosieve.methods.selection import text_blocks, top_k

VERTICAL_SHARES = {"slash": 0.05, "vertical_slash": 0.25, "vertical": 0.95}
"""Share of the blocks that goes into columns, near the paper's candidates (100, 1800), (500, 1500), (3000, 200)."""

PATTERNS = ("a_shape", *VERTICAL_SHARES, "block_sparse")


def pattern_blocks(
    call: AttentionCall, names: tuple[str, ...], density: float, side: int, rows: int, seed: int
) -> dict[str, Tensor]:
    """The blocks that shapes keep, for all heads.

    Args:
        call: The attention call.
        names: Some of PATTERNS.
        density: Share of blocks to keep, in (0, 1].
        side: Block side, tokens.
        rows: Video queries to sample.
        seed: Source of the sample.

    Returns:
        bool [batch, heads, rows, columns] by name.
    """
    forced = forced_blocks(call.layout, side, call.q.device)
    blocks, estimate = {}, None
    for name in names:
        if name == "a_shape":
            keep = a_shape(call.layout, density, side, call.q.device)
        elif name == "block_sparse":
            keep = block_sparse(call, side, density, forced)
        else:
            if estimate is None:
                estimate = sampled_mass(call, side, rows, seed)
            keep = vertical_slash(*estimate, density, VERTICAL_SHARES[name], forced)
        blocks[name] = keep.expand(call.batch, call.heads, *forced.shape)
    return blocks


def forced_blocks(layout: VideoLayout, side: int, device: torch.device) -> Tensor:
    """Blocks that every shape keeps: those that hold text, and the first key block; bool [rows, columns]."""
    forced = text_blocks(layout, side, device)
    return forced | (torch.arange(len(forced), device=device) == 0)


@lru_cache(maxsize=16)
def a_shape(layout: VideoLayout, density: float, side: int, device: torch.device) -> Tensor:
    """The forced blocks and a band about the diagonal, as wide as the density allows.

    Args:
        layout: Which token is which.
        density: Share of query–key pairs to keep, in (0, 1].
        side: Block side, tokens.
        device: Where the result is needed.

    Returns:
        bool [rows, columns]. A shared tensor: do not write to it.
    """
    whole = layout.in_whole_blocks(side)
    dense = BlockMask.dense(whole.tokens, BlockSize(side, side))
    width = closest_width(_a_shape_distances(whole, side), dense, density) if density < 1 else layout.tokens
    return (_a_shape_distances(layout, side) < width).to(device)


def _a_shape_distances(layout: VideoLayout, side: int) -> Tensor:
    """Distances of blocks, tokens, 0 where they are forced; int64 [rows, columns]."""
    order = torch.arange(layout.tokens)
    forced = forced_blocks(layout, side, torch.device("cpu"))
    return nearest_pairs(order, order, side).masked_fill(forced, 0)


def sampled_mass(call: AttentionCall, side: int, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Softmax mass that sampled video queries give to every key block.

    Args:
        call: The attention call.
        side: Block side, tokens.
        rows: How many to sample.
        seed: Together with layer and step, what the sample depends on.

    Returns:
        fp32 [batch, heads, rows, columns], and int64 [rows], the query block of every row.
    """
    sample = sample_rows(call, stratified_rows, rows, seed)
    heads = []
    for head in range(
        call.heads
    ):  # one head at a time: a wide copy of the keys of all heads would not be small
        scores = call.q[:, head, sample].float() @ call.k[:, head].float().mT * call.scale
        weights = torch.nn.functional.pad(scores.softmax(-1), (0, -call.tokens % side))
        heads.append(weights.unflatten(-1, (-1, side)).sum(-1))
    return torch.stack(heads, 1), sample // side


def vertical_slash(
    mass: Tensor, query_block: Tensor, density: float, vertical_share: float, forced: Tensor
) -> Tensor:
    """The heaviest columns and diagonals of blocks.

    Args:
        mass: Softmax mass of sampled queries [batch, heads, rows, columns].
        query_block: int64 [rows]; the query block of every sampled query.
        density: Share of all blocks to keep, in (0, 1].
        vertical_share: Share of the blocks beyond the forced ones that goes into columns, in [0, 1].
        forced: bool [blocks, blocks]; kept in any case, as is the main diagonal.

    Returns:
        bool [batch, heads, blocks, blocks]. What is not spent on columns goes into whole diagonals while they fit.
    """
    blocks = forced.shape[0]
    mass = mass.nan_to_num(0.0)
    place = torch.arange(blocks, device=mass.device)
    budget = density * blocks**2 - int(forced.sum())
    free_rows = max(int((~forced).sum(0).max()), 1)
    columns = min(max(round(vertical_share * budget / free_rows), 0), blocks)
    scores = mass.sum(2).masked_fill(forced.all(0), -torch.inf)
    chosen = top_k(scores.unsqueeze(2), columns) if columns else scores.unsqueeze(2) == torch.inf
    keep = forced | chosen.expand(*mass.shape[:2], blocks, blocks)
    # Diagonals do not overlap one another, so their costs beside the columns simply add up.
    diagonal = place[:, None] - place + blocks - 1
    cost = _sum_by(~keep, diagonal.expand_as(keep), 2 * blocks - 1)
    offset = query_block[:, None] - place + blocks - 1
    gain = _sum_by(mass.masked_fill(chosen, 0.0), offset.expand_as(mass), 2 * blocks - 1)
    gain[..., blocks - 1] = torch.inf
    order = torch.sort(gain, dim=-1, descending=True, stable=True).indices
    left = density * blocks**2 - keep.sum((-1, -2)).unsqueeze(-1)
    fits = cost.gather(-1, order).cumsum(-1) <= left
    fits[..., 0] = True
    taken = torch.zeros_like(fits).scatter(-1, order, fits)
    return keep | taken[..., diagonal.flatten()].unflatten(-1, diagonal.shape)


def block_sparse(call: AttentionCall, side: int, density: float, forced: Tensor) -> Tensor:
    """Row-wise top-k of the scores of mean-pooled queries and keys, forced blocks counted first."""
    pooled_q, pooled_k = (_mean_blocks(x, side) for x in (call.q, call.k))
    scores = (pooled_q @ pooled_k.mT * call.scale).masked_fill(forced, torch.inf)
    return top_k(scores, round(density * forced.shape[1])) | forced


def _mean_blocks(x: Tensor, side: int) -> Tensor:
    return torch.stack([part.mean(2, dtype=torch.float32) for part in x.split(side, 2)], 2)


def _sum_by(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums [batch, heads, size] of values [batch, heads, ...] that share an index."""
    total = torch.zeros(*values.shape[:2], size, device=values.device)
    return total.scatter_add_(-1, index.flatten(2), values.float().flatten(2))
