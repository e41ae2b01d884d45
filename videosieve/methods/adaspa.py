"""AdaSpa: measure the mass of every block at a few steps, keep the heaviest per row, reuse them in between.

Xia et al., "Training-free and Adaptive Sparse Attention for Efficient Long Video Generation", arXiv:2502.21079.
The first search is the paper's Fused Online Search (Algorithm 1): full attention gives the output and the LSE, a second
pass the mass. Later ones are its LSE-Cached Search (Algorithm 2). Algorithm 1 prints p ← Log(qk − LSE) where
exp(qk − LSE) is meant. No code of the authors is public; docs/methods/adaspa.md settles what the paper leaves open.

Deviation: a search looks at every second query of a block, for half of its cost; `search_stride=1` looks at all.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import RecipeError
from videosieve.fields import Count, Fraction, Says, Whole, check_fields
from videosieve.forward import Site
from videosieve.kernels import block_mass
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.masks.packed_mask import PackedMask
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.parameters import Block, share
from videosieve.methods.selection import outside_video, top_k

SearchSteps = Annotated[
    tuple[Fraction | Whole, ...],
    Says(
        "are fractions of all steps in [0.0, 1.0] or steps as ints >= 0",
        "write a step without a decimal point",
    ),
]


@dataclass(frozen=True, slots=True)
class AdaSpaState:
    """What is kept between the steps of one layer and branch.

    Attributes:
        step: Of the last search.
        lse: fp32 [batch, heads, tokens]; of the first search, while later ones are due.
        mask: Found by the last search; None until its attention is computed.
    """

    step: int
    lse: Tensor | None = None
    mask: PackedMask | None = None


@dataclass(frozen=True, slots=True)
class AdaSpa(Method):
    """Row-wise top-k of measured block mass, found at search steps and reused.

    Attributes:
        density: Share of the video's key blocks that every query block keeps, mean over heads, in (0, 1]; blocks that
            hold text come on top. 1 − the paper's sparsity.
        search_steps: Steps that search anew: a fraction of all steps as a float in [0, 1], or a step as an
            int. The first sparse step searches in any case. The paper's T_s.
        head_adaptive: Whether heads of high recall give half their blocks to heads of low recall.
        recall_split: Recall above which a head counts as high, in (0, 1].
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens. The paper's B.
        search_stride: Every how manieth query of a block a search looks at; must divide the block. 1 is the paper's.
            None takes 2, and 1 for blocks of an odd side.
    """

    name: ClassVar[str] = "adaspa"

    density: Annotated[float, share("the share of the video's key blocks that a query block keeps")] = 0.2
    search_steps: SearchSteps = (0.2, 0.6)
    head_adaptive: bool = True
    recall_split: Annotated[float, share("the recall above which a head counts as high")] = 0.8
    block: Block = None
    search_stride: Count | None = None

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if self.search_stride is not None and (self.block or 64) % self.search_stride:
            raise RecipeError(
                f"search_stride must divide the block side (64 and 128 where block is None), got "
                f"search_stride={self.search_stride} and block={self.block}; 1 looks at every query"
            )

    @property
    def takes_any_order(self) -> bool:
        return True

    def select(self, call: AttentionCall, state: AdaSpaState | None) -> tuple[Selection, State]:
        """Dense at the first search, else the mask of the last search or of one made now with the cached LSE."""
        if state is None or state.mask is None:
            side = block_side(self.block, call.tokens)
            everything = BlockMask.dense(call.tokens, BlockSize(side, side), device=call.q.device)
            return Selection(everything), AdaSpaState(call.site.step)
        if state.lse is not None and self._due(call.site, state.step):
            mask = self._search(call, state.lse)
            return Selection(mask), self._remember(call.site, state.lse, mask)
        return Selection(state.mask.unpack()), state

    def observe(self, call: AttentionCall, result: AttentionResult, state: AdaSpaState) -> AdaSpaState:
        """The second pass of the fused search: the LSE of full attention has just been computed."""
        if state.mask is not None:
            return state
        return self._remember(call.site, result.lse, self._search(call, result.lse))

    def _search(self, call: AttentionCall, lse: Tensor) -> BlockMask:
        side = block_side(self.block, call.tokens)
        stride = self.search_stride or (1 if side % 2 else 2)
        block = BlockSize(side // stride, side)
        mass = block_mass(call.q[:, :, ::stride], call.k, lse[:, :, ::stride], block, scale=call.scale)
        text = outside_video(call.layout, side, call.q.device)
        density = torch.tensor(self.density, device=mass.device)
        keep = heaviest_blocks(mass, density, text)
        if self.head_adaptive:
            recall = call.of_all_heads(kept_share(mass, keep, text))  # the tiers are ranks among all heads
            density = call.of_these_heads(head_densities(recall, self.density, self.recall_split))
            keep = heaviest_blocks(mass, density, text)
        return BlockMask(keep, BlockSize(side, side), call.tokens)

    def _remember(self, site: Site, lse: Tensor, mask: BlockMask) -> AdaSpaState:
        more = any(_step(step, site.steps) > site.step for step in self.search_steps)
        return AdaSpaState(site.step, lse if more else None, PackedMask.of(mask))

    def _due(self, site: Site, last: int) -> bool:
        return any(last < _step(step, site.steps) <= site.step for step in self.search_steps)


def heaviest_blocks(mass: Tensor, density: Tensor, text: Tensor) -> Tensor:
    """Row-wise top-k over the video's key blocks, and every block that holds text.

    Args:
        mass: [batch, heads, rows, columns].
        density: Share of the video's key blocks to keep, [] or [batch, heads].
        text: bool [columns]; blocks that hold a token outside the video. Rows and columns are the same blocks.

    Returns:
        bool [batch, heads, rows, columns].
    """
    count = (density * (~text).sum()).round().long()
    keep = top_k(mass.masked_fill(text, -torch.inf), count.unsqueeze(-1))
    return keep | text | text[:, None]


def kept_share(mass: Tensor, keep: Tensor, text: Tensor) -> Tensor:
    """Recall of every head over the blocks of the video, as far as this mass tells.

    Blocks that hold text are kept in any case, so that their mass says nothing about a selection; the paper's recall is
    over the video's.

    Args:
        mass: [batch, heads, rows, columns].
        keep: bool, same shape.
        text: bool [columns]; blocks that hold a token outside the video. Rows and columns are the same blocks.

    Returns:
        fp64 [batch, heads]; kept mass ÷ all mass, 0 where no block is the video's alone.
    """
    mass = mass.nan_to_num(0.0).double().masked_fill(text | text[:, None], 0.0)
    return (mass * keep).sum((-1, -2)) / mass.sum((-1, -2)).clamp(min=1e-30)


def head_densities(recall: Tensor, density: float, split: float) -> Tensor:
    """The paper's three tiers: n heads of highest recall get half the density, n of lowest as much more.

    Args:
        recall: [batch, heads]; of every head at the uniform density.
        density: The uniform density, in (0, 1].
        split: n is the number of heads above this recall, at most half of all heads.

    Returns:
        fp32 [batch, heads]; mean `density`.
    """
    heads = recall.shape[-1]
    count = (recall > split).sum(-1, keepdim=True).clamp(max=heads // 2)
    rank = torch.sort(recall, dim=-1, descending=True, stable=True).indices.argsort(-1)
    # A head cannot keep more than everything, so above density 2/3 the tiers lie closer together.
    spread = min(density / 2, 1 - density)
    tier = (rank >= heads - count).float() - (rank < count).float()
    return density + spread * tier


def _step(value: float | int, steps: int) -> int:
    return value if isinstance(value, int) else int(value * steps + 1e-9)
