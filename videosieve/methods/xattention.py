"""XAttention: estimate block mass from antidiagonals, keep the fewest key blocks that hold most of it.

Xu et al., "XAttention: Block Sparse Attention with Antidiagonal Scoring", arXiv:2503.16428, Algorithm 1.

Deviations: tokens past the end never enter the estimate (the authors' non-causal code gives padded keys a score of 0);
masses are summed in fp32; every batch element has its own mask; no key block is kept for its place alone unless
`keep_first` asks for it. The paper's programme for thresholds per head is unpublished: searches/xattention.py fits them
by recall instead. All deviations: docs/methods/xattention.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import In, check_fields
from videosieve.kernels import antidiagonal_mass
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.parameters import Block, ByHead, share
from videosieve.methods.selection import entries_of, top_p

Threshold = Annotated[float, share("the share of estimated mass to keep per query block")]
_STRIDE = "is a number of tokens that divides the block side (64 and 128 where block is None)"
Stride = Annotated[int, In("[1, 65536]", _STRIDE, "the paper uses 4, 8 and 16")]


@dataclass(frozen=True, slots=True)
class XAttention(Method):
    """Block-sparse attention with antidiagonal scoring.

    Attributes:
        threshold: Share of the estimated mass to keep per query block, in (0, 1]. The paper's τ.
        stride: Side of the cells whose antidiagonal is scored, tokens; must divide the block. The paper's S.
        head_thresholds: A threshold for every layer and head, `[layers][heads]`, in place of `threshold`; as
            `searches.xattention.thresholds` fits them. None uses `threshold` for all.
        keep_first: Whether every query also sees the first key block, as in the authors' non-causal code.
        causal: No query sees a key behind it; the first and the diagonal block are kept, and counted first.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens. The paper's B.
    """

    name: ClassVar[str] = "xattention"
    causal_name: ClassVar[str] = "xattention"

    threshold: Threshold = 0.9
    stride: Stride = 8
    head_thresholds: Annotated[tuple[tuple[Threshold, ...], ...], ByHead] | None = None
    keep_first: bool = False
    causal: bool = False
    block: Block = None

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        check_stride(self.stride, self.block)

    @property
    def is_causal(self) -> bool:
        return self.causal

    @property
    def takes_any_order(self) -> bool:
        return not self.causal and not self.keep_first

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Algorithm 1: score antidiagonals, softmax, sum to blocks, keep the fewest that hold the threshold."""
        side = block_side(self.block, call.keys)
        mass = antidiagonal_mass(call.q, call.k, self.stride, side, scale=call.scale, causal=self.causal)
        whole = BlockMask.dense(call.tokens, BlockSize(side, side), call.keys, call.q.device, self.causal)
        first = first_and_diagonal(call, side) if self.causal else None
        keep = top_p(mass, self._threshold(call), first)
        if self.keep_first:
            keep[..., 0] = True
        if self.causal:
            keep &= whole.pairs > 0
        return Selection(
            BlockMask(keep, whole.block, call.tokens, call.keys, self.causal), causal=self.causal
        ), state

    def _threshold(self, call: AttentionCall) -> float | Tensor:
        if self.head_thresholds is None:
            return self.threshold
        row = entries_of("head_thresholds", self.head_thresholds, call)
        return torch.tensor(row, dtype=torch.float64, device=call.q.device).unsqueeze(-1)


def check_stride(stride: int, block: int | None) -> None:
    """Raise a RecipeError unless the stride divides the block side, 64 and 128 where that is None."""
    if (block or 64) % stride:
        raise RecipeError(f"stride {_STRIDE}, got {stride=} and {block=}; the paper uses 4, 8 and 16")


def first_and_diagonal(call: AttentionCall, side: int) -> Tensor:
    """The blocks that causal attention keeps in any case, bool [rows, columns]."""
    mask = BlockMask.dense(call.tokens, BlockSize(side, side), call.keys, call.q.device, causal=True)
    return mask.diagonal | (torch.arange(mask.keep.shape[-1], device=mask.keep.device) == 0)
