"""MInference as published, for language models: vertical-slash, A-shape or block-sparse, per head.

Jiang et al., "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
arXiv:2407.02490, Algorithms 2 and 3. Deviations: slashes and the A-shape cover whole blocks, a superset of the authors'
token-aligned intervals; the diagonal is always kept; columns are single keys as theirs are. `budget` is ours: the
published counts are everything there is in a short prompt. All deviations: docs/methods/minference.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.fields import Count, OneOf, Says, Whole
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.causal_patterns import SHAPES, a_shape, columns_of, pooled_top_k, slashes_of
from videosieve.methods.parameters import Block, ByHead, share
from videosieve.methods.selection import entries_of

Shape = Annotated[str, OneOf(SHAPES, f"is one of {', '.join(SHAPES)}")]
HeadShape = Annotated[
    tuple[Shape, Whole, Whole],
    Says(
        "is a shape and two counts: columns and slashes, first and last keys of an A-shape, or blocks of a row and 0"
    ),
]


@dataclass(frozen=True, slots=True)
class CausalMInference(Method):
    """Each head computes one shape, whose places are found anew at every call from its last queries.

    Attributes:
        shape: Of all heads: "vertical_slash" (columns and diagonals), "a_shape" (first and last keys) or "block_sparse"
            (top-k of mean-pooled scores).
        columns: Single keys that every later query sees, by mass; the paper's v.
        slashes: Distances from query to key, by mass; the paper's s.
        first: Keys from the start that an A-shape sees.
        last: Keys up to its own that a query of an A-shape sees.
        blocks: Key blocks of a row of a block-sparse head.
        head_patterns: Shape and its two counts for every layer and head, [layers][heads], in place of all the above; as
            `searches.minference_causal` finds or reads them. None uses the same for all.
        budget: Share of the keys that columns and slashes (first and last keys, blocks of a row) are cut down to
            together, in their proportion; None takes the counts as they are.
        rows: Last queries from which columns and slashes are found; the paper's last_q.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens. The paper uses 64.
    """

    name: ClassVar[str] = "minference_causal"
    causal_name: ClassVar[str] = "minference_causal"
    keeps_columns: ClassVar[bool] = True

    shape: Shape = "vertical_slash"
    columns: Count = 1000
    slashes: Count = 6096
    first: Count = 1024
    last: Count = 4096
    blocks: Count = 100
    head_patterns: Annotated[tuple[tuple[HeadShape, ...], ...], ByHead] | None = None
    budget: Annotated[float, share("the share of the keys to keep")] | None = None
    rows: Count = 64
    block: Block = None

    @property
    def is_causal(self) -> bool:
        return True

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Estimate what every shape of some head needs, and give each head its own."""
        side = block_side(self.block, call.keys)
        chosen = self.chosen(call)
        whole = BlockMask.dense(call.tokens, BlockSize(side, side), call.keys, call.q.device, causal=True)
        keep = whole.diagonal.expand(call.batch, call.heads, -1, -1).clone()
        columns = self._vertical_slash(call, whole, chosen, keep)
        for head, (shape, one, two) in enumerate(chosen):
            if shape == "a_shape":
                keep[:, head] |= a_shape(whole, one, two)
            elif shape == "block_sparse":
                keep[:, head] |= pooled_top_k(call, whole, head, one)
        keep &= whole.pairs > 0
        pattern = torch.tensor([[SHAPES.index(shape) for shape, _, _ in chosen]], device=call.q.device)
        mask = BlockMask(keep, whole.block, call.tokens, call.keys, causal=True)
        return Selection(mask, patterns=SHAPES, pattern=pattern, causal=True, columns=columns), state

    def chosen(self, call: AttentionCall) -> tuple[tuple[str, int, int], ...]:
        """Shape and counts of every head, cut to the budget."""
        counts = {
            "vertical_slash": (self.columns, self.slashes),
            "a_shape": (self.first, self.last),
            "block_sparse": (self.blocks, 0),
        }
        table = ((self.shape, *counts[self.shape]),) * call.heads
        if self.head_patterns is not None:
            table = entries_of("head_patterns", self.head_patterns, call)
        return tuple(self._cut(call, shape, one, two) for shape, one, two in table)

    def _cut(self, call: AttentionCall, shape: str, one: int, two: int) -> tuple[str, int, int]:
        if self.budget is None:
            return shape, one, two
        if shape == "block_sparse":
            blocks = -(-call.keys // block_side(self.block, call.keys))
            return shape, max(round(self.budget * blocks), 1), 0
        factor = min(self.budget * call.keys / max(one + two, 1), 1.0)
        return shape, round(one * factor), round(two * factor)

    def _vertical_slash(
        self, call: AttentionCall, whole: BlockMask, chosen: tuple[tuple[str, int, int], ...], keep: Tensor
    ) -> Tensor | None:
        """Adds the slashes of its heads to `keep`; their columns, None where no head has any."""
        heads = [head for head, (shape, _, _) in enumerate(chosen) if shape == "vertical_slash"]
        if not heads:
            return None
        mass = last_mass(call, heads, self.rows)
        counts = torch.tensor([chosen[head][1:] for head in heads], device=call.q.device)
        keep[:, heads] |= slashes_of(mass, whole, counts[:, 1])
        chosen_columns = columns_of(mass, counts[:, 0])
        columns = torch.full(
            (call.batch, call.heads, chosen_columns.shape[-1]), call.keys, device=call.q.device
        )
        columns[:, heads] = chosen_columns
        return columns


def last_mass(call: AttentionCall, heads: list[int], rows: int) -> Tensor:
    """Softmax over the keys of the last queries of some heads, none ahead: fp32 [batch, heads, rows, keys]."""
    rows = min(rows, call.tokens)
    group = call.heads // call.k.shape[1]
    parts = []
    for head in heads:  # one at a time: a wide copy of all keys would not be small
        scores = call.q[:, head, -rows:].float() @ call.k[:, head // group].float().mT * call.scale
        own = torch.arange(call.keys - rows, call.keys, device=scores.device).unsqueeze(-1)
        scores.masked_fill_(torch.arange(call.keys, device=scores.device) > own, -torch.inf)
        parts.append(scores.softmax(-1))
    return torch.stack(parts, 1)
