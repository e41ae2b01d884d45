"""MInference for video: every head has one of a few shapes, found offline; its indices are estimated at every call.

Jiang et al., "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
arXiv:2407.02490. The paper and its code are about causal language models. The non-causal variant for video here is
**ours**, not the authors': rows are sampled all over the video instead of taken from its end, slashes run on both sides
of the diagonal, everything is decided in blocks, and one density sizes all shapes, as the paper's search equalises the
FLOPs of its candidates. All differences: docs/methods/minference.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from videosieve.block_mask import BlockMask, BlockSize
from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.layout import VideoLayout
from videosieve.methods.band import closest_width, nearest_pairs
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.selection import block_side, check_block, check_share, check_table, text_blocks, top_k
from videosieve.methods.sparse_videogen_profile import sample_rows, stratified_rows

VERTICAL_SHARES = {"slash": 0.05, "vertical_slash": 0.25, "vertical": 0.95}
"""Share of the blocks that goes into columns, near the paper's candidates (100, 1800), (500, 1500), (3000, 200)."""

PATTERNS = ("a_shape", *VERTICAL_SHARES, "block_sparse")


@dataclass(frozen=True, slots=True)
class MInference(Method):
    """A-shape, vertical-slash or block-sparse, per head. The non-causal variant is videosieve's own.

    Attributes:
        density: Share of query–key blocks to keep, in (0, 1]; text and first block included.
        pattern: Shape of all heads: "a_shape" (first block and a band), "slash", "vertical_slash", "vertical" (columns
            and diagonals in three proportions) or "block_sparse" (top-k of mean-pooled scores).
        head_patterns: A shape for every layer and head, [layers][heads], in place of `pattern`; as
            `minference_search.best_patterns` finds them. None uses `pattern` for all.
        rows: Video queries sampled to find columns and diagonals; the paper's last_q.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
        seed: Source of the sampled rows, together with layer and step.
    """

    name: ClassVar[str] = "minference"

    density: float = 0.3
    pattern: str = "vertical_slash"
    head_patterns: tuple[tuple[str, ...], ...] | None = None
    rows: int = 64
    block: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("density", self.density, "the share of query–key blocks to keep")
        check_block(self.block)
        for name, value, least in (("rows", self.rows, 1), ("seed", self.seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise RecipeError(f"{name} must be a whole number >= {least}, got {name}={value!r}")
        if self.head_patterns is not None:
            object.__setattr__(self, "head_patterns", tuple(map(tuple, self.head_patterns)))
        for name in (self.pattern, *(name for row in self.head_patterns or () for name in row)):
            if name not in PATTERNS:
                raise RecipeError(f"a pattern is one of {', '.join(PATTERNS)}, got {name!r}")

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Estimate the indices of every shape that some head has, and give each head its own."""
        side = block_side(self.block, call.tokens)
        chosen = self._chosen(call)
        names = tuple(sorted(set(chosen), key=PATTERNS.index))
        keeps = pattern_blocks(call, names, self.density, side, self.rows, self.seed)
        pattern = torch.tensor([[PATTERNS.index(name) for name in chosen]], device=call.q.device)
        keep = torch.zeros_like(keeps[names[0]])
        for name, blocks in keeps.items():
            keep |= blocks & (pattern == PATTERNS.index(name))[..., None, None]
        mask = BlockMask(keep, BlockSize(side, side), call.tokens)
        return Selection(mask, patterns=PATTERNS, pattern=pattern), state

    def _chosen(self, call: AttentionCall) -> tuple[str, ...]:
        if self.head_patterns is None:
            return (self.pattern,) * call.heads
        check_table("head_patterns", self.head_patterns, call.site.layers, call.heads)
        return self.head_patterns[call.site.layer]


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
    order = torch.arange(layout.tokens)
    nearest = nearest_pairs(order, order, side)
    forced = forced_blocks(layout, side, torch.device("cpu"))
    width = closest_width(nearest, forced, BlockMask.dense(layout.tokens, BlockSize(side, side)), density)
    return (forced | (nearest < width)).to(device)


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
