"""MInference for video: every head has one of a few shapes, found offline; its indices are estimated at every call.

Jiang et al., "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
arXiv:2407.02490. The paper and its code are about causal language models. The non-causal variant for video here is
**ours**, not the authors': rows are sampled all over the video instead of taken from its end, slashes run on both sides
of the diagonal, everything is decided in blocks, and one density sizes all shapes, as the paper's search equalises the
FLOPs of its candidates. All differences: docs/methods/minference.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from videosieve.call import AttentionCall
from videosieve.fields import Count, OneOf, Seed
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.minference_patterns import PATTERNS, pattern_blocks
from videosieve.methods.parameters import Block, ByHead, share
from videosieve.methods.selection import entries_of

Pattern = Annotated[str, OneOf(PATTERNS, f"is one of {', '.join(PATTERNS)}")]


@dataclass(frozen=True, slots=True)
class MInference(Method):
    """A-shape, vertical-slash or block-sparse, per head. The non-causal variant is videosieve's own.

    Attributes:
        density: Share of query–key blocks to keep, in (0, 1]; text and first block included.
        pattern: Shape of all heads: "a_shape" (first block and a band), "slash", "vertical_slash", "vertical" (columns
            and diagonals in three proportions) or "block_sparse" (top-k of mean-pooled scores).
        head_patterns: A shape for every layer and head, `[layers][heads]`, in place of `pattern`; as
            `searches.minference.best_patterns` finds them. None uses `pattern` for all.
        rows: Video queries sampled to find columns and diagonals; the paper's last_q.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
        seed: Source of the sampled rows, together with layer and step.
    """

    name: ClassVar[str] = "minference"
    causal_name: ClassVar[str] = "minference_causal"

    density: Annotated[float, share("the share of query–key blocks to keep")] = 0.3
    pattern: Pattern = "vertical_slash"
    head_patterns: Annotated[tuple[tuple[Pattern, ...], ...], ByHead] | None = None
    rows: Count = 64
    block: Block = None
    seed: Seed = 0

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
        return entries_of("head_patterns", self.head_patterns, call)
