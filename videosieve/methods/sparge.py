"""SpargeAttn's selection: mean-pooled top-p, where the tokens of a block are alike; elsewhere everything.

Zhang et al., "SpargeAttention: Accurate and Training-free Sparse Attention Accelerating Any Model Inference",
arXiv:2502.18137, Algorithm 1, first stage. A mean speaks for its block only where the tokens resemble one another: the
rows and columns of blocks that do not are computed in full. The second stage, skipping P·V inside the kernel while the
running maximum leaves nothing to add (the paper's λ), and the INT8/FP8 products are features of the authors' kernel; no
selection of blocks can express them, and this method has neither.

Deviations: docs/methods/sparge.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import In, OneOf, check_fields
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State, TokenOrder
from videosieve.methods.geometry.hilbert import hilbert_order
from videosieve.methods.parameters import Block, share
from videosieve.methods.selection import top_k

VALUES_AT_ONCE = 2**22
"""Values (batch × heads × tokens × head_dim) that are pooled per pass, 4 bytes each; about three copies live."""


Gate = In("[0, 1]", "is a mean cosine and must lie in [0, 1]", "0 turns the gate off")


class Pooled(NamedTuple):
    """Blocks of tokens, summed up.

    Attributes:
        mean: fp32 [batch, heads, blocks, head_dim].
        similarity: fp32 [batch, heads, blocks]; mean cosine over all pairs of tokens of the block, each token with
            itself included, in [0, 1]. The paper's CosSim.
    """

    mean: Tensor
    similarity: Tensor


@dataclass(frozen=True, slots=True)
class Sparge(Method):
    """Top-p or top-k of mean-pooled scores with a self-similarity gate.

    Attributes:
        threshold: Share of the pooled mass that the kept blocks of a query block stay below, in (0, 1]. The paper's
            τ.
        similarity: Mean cosine from which a block counts as self-similar, in [0, 1]. The paper's θ. None: 0.6 with
            `threshold`, 0 (no gate) with `density`, as the authors' two functions have it.
        density: Share of the key blocks that every query block keeps, in (0, 1], in place of `threshold`.
        order: "frame_major", or "hilbert": along a Hilbert curve, the paper's permutation, which its code lacks.
        block: Query block side, tokens, an even number; key blocks are half as long, as in the paper's 128 × 64. None
            takes 128, or 64 below 16,384 tokens.
        sink: Whether every query sees the first key block, as the authors' attention_sink has it.
    """

    name: ClassVar[str] = "sparge"

    threshold: Annotated[float, share("the share of pooled mass to keep per query block")] = 0.98
    similarity: Annotated[float, Gate] | None = None
    density: Annotated[float, share("the share of key blocks that every query block keeps")] | None = None
    order: Annotated[str, OneOf(("frame_major", "hilbert"))] = "frame_major"
    block: Block = None
    sink: bool = False

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if self.block is not None and self.block % 2:
            raise RecipeError(f"block must be even, key blocks are half as long, got {self.block=}")

    @property
    def takes_any_order(self) -> bool:
        return self.order == "frame_major" and not self.sink

    def block_size(self, call: AttentionCall) -> BlockSize:
        side = block_side(self.block, call.tokens)
        return BlockSize(side, side // 2)

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Pool, score the self-similar key blocks, keep the heaviest, and all that no mean can speak for."""
        block = self.block_size(call)
        order = hilbert_order(call.layout, call.q.device) if self.order == "hilbert" else None
        queries, keys = pool(call.q, block.query, order), pool(call.k, block.key, order)
        query_alike, key_alike = (x.similarity > self._gate for x in (queries, keys))
        scores = queries.mean @ keys.mean.mT * call.scale
        scores[..., -1] += torch.tensor(((call.tokens - 1) % block.key + 1) / block.key).log().item()
        mass = scores.masked_fill(~key_alike.unsqueeze(-2), -torch.inf).softmax(-1)
        if self.density is None:
            keep = top_p_below(mass, self.threshold)
        else:
            keep = top_k(mass, round(self.density * mass.shape[-1]))
        keep = keep | ~key_alike.unsqueeze(-2) | ~query_alike.unsqueeze(-1)
        if self.sink:
            keep[..., 0] = True
        mask = BlockMask(keep, block, call.tokens)
        if order is None:
            return Selection(mask), state
        return Selection(mask, TokenOrder(order), TokenOrder(order)), state

    @property
    def _gate(self) -> float:
        """A cosine above which blocks are alike; below every cosine where the gate is off."""
        if self.similarity is None:
            return 0.6 if self.density is None else -1.0
        return self.similarity or -1.0


def pool(x: Tensor, side: int, order: Tensor | None) -> Pooled:
    """Mean and self-similarity of every block.

    Args:
        x: Queries or keys [batch, heads, tokens, head_dim].
        side: Block side, tokens. The last block counts the tokens it has.
        order: Gather index [tokens]; None leaves them.

    Returns:
        Mean and similarity. The mean of all pairwise cosines is the squared length of the mean unit token, so no
        Gram matrix is formed.
    """
    tokens = x.shape[2]
    at_once = max(VALUES_AT_ONCE // (x.shape[0] * x.shape[1] * x.shape[3] * side), 1) * side
    means, similarities = [], []
    for start in range(0, tokens, at_once):
        stop = min(start + at_once, tokens)
        part = x[:, :, start:stop] if order is None else x[:, :, order[start:stop]]
        part = pad(part.float(), (0, 0, 0, -(stop - start) % side)).unflatten(2, (-1, side))
        count = torch.full((part.shape[2],), side, device=x.device)
        count[-1] = (stop - start - 1) % side + 1
        means.append(part.sum(3) / count[:, None])
        similarities.append((normalize(part, dim=-1).sum(3) / count[:, None]).square().sum(-1))
    return Pooled(torch.cat(means, 2), torch.cat(similarities, 2))


def top_p_below(mass: Tensor, threshold: float) -> Tensor:
    """The heaviest blocks of every row while their mass stays within a share: without the block that crosses it.

    Args:
        mass: [batch, heads, rows, columns], non-negative.
        threshold: Share of the row's mass, in (0, 1]; at 1 every block is kept.

    Returns:
        bool, same shape; every row keeps its heaviest block.
    """
    mass = mass.nan_to_num(0.0).double()
    ranked, order = torch.sort(mass, dim=-1, descending=True, stable=True)
    held = ranked.cumsum(-1)
    kept = (held <= threshold * held[..., -1:]) | (threshold >= 1)
    kept[..., 0] = True
    return torch.zeros_like(kept).scatter(-1, order, kept)
