"""Thresholds per head for XAttention: the smallest that keep a wanted recall on prompts of one's own.

The paper lowers thresholds by a dynamic programme over heads (§2.3) whose code is unpublished. Its authors publish a
stand-in: a head's threshold is such that the blocks holding 90 % of the exact mass would all be kept, and the largest
over prompts counts. Here the question is put to the quantity that matters: top-p sets grow with the threshold, so a
head's mean recall is a rising staircase in it, and the first step that reaches the wanted recall is found exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import check_fields
from videosieve.kernels import antidiagonal_mass
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, State
from videosieve.methods.estimates.causal_mass import causal_mass
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.parameters import Block, share
from videosieve.methods.searches.head_tables import by_layer
from videosieve.methods.xattention import Stride, check_stride, first_and_diagonal

LEAST_THRESHOLD = 1e-3
"""Thresholds are rounded up to multiples of this."""


@dataclass(frozen=True, slots=True)
class XAttentionProfile(Method):
    """Computes every call in full and remembers the threshold that each head needs: the largest over all calls.

    Run it over a few prompts as a method, then hand `run.states()` to `thresholds` before the run forgets them.

    Attributes:
        recall: Exact softmax mass to keep, mean over the query blocks, in (0, 1].
        stride: As in XAttention.
        block: As in XAttention.
        causal: As in XAttention: the first and the diagonal block count first.
    """

    name: ClassVar[str] = "xattention_profile"

    recall: Annotated[float, share("the exact softmax mass to keep")] = 0.9
    stride: Stride = 8
    block: Block = None
    causal: bool = False

    @property
    def is_causal(self) -> bool:
        return self.causal

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        check_stride(self.stride, self.block)

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        side = block_side(self.block, call.keys)
        estimate = antidiagonal_mass(call.q, call.k, self.stride, side, scale=call.scale, causal=self.causal)
        if self.causal:
            first = first_and_diagonal(call, side)
            needed = fit_thresholds(estimate, causal_mass(call, side), self.recall, first).amax(0)
        else:
            needed = fit_thresholds(estimate, exact_mass(call, side), self.recall).amax(0)
        return None, needed if state is None else torch.maximum(state, needed)


def fit_thresholds(estimate: Tensor, exact: Tensor, recall: float, first: Tensor | None = None) -> Tensor:
    """The smallest threshold with which top-p on the estimate keeps a recall.

    Args:
        estimate: Estimated mass [batch, heads, rows, columns].
        exact: Exact mass, same shape.
        recall: Exact mass to keep, a share of all in (0, 1].
        first: bool [rows, columns]; blocks that are kept in any case and whose mass counts first. None: none are.

    Returns:
        fp64 [batch, heads]; multiples of LEAST_THRESHOLD in (0, 1].
    """
    worth = estimate if first is None else estimate.masked_fill(first, torch.inf)
    order = torch.sort(worth, dim=-1, descending=True, stable=True).indices
    ranked = estimate.double().gather(-1, order)
    share = ranked / ranked.sum(-1, keepdim=True)
    # A block is kept when the threshold exceeds the share of the blocks ranked before it.
    before = share.cumsum(-1) - share
    if first is not None:
        before = before.masked_fill(first.expand_as(order).gather(-1, order), 0.0)
    enters, entry = before.flatten(2).sort(-1)
    kept = exact.double().gather(-1, order).flatten(2).gather(-1, entry).cumsum(-1)
    wanted = recall * exact.double().sum((-1, -2)).unsqueeze(-1) * (1 - 1e-9)
    step = torch.searchsorted(kept, wanted).clamp(max=kept.shape[-1] - 1)
    needed = enters.gather(-1, step).squeeze(-1)
    # The threshold must lie above the share, so a share on the grid goes to the next multiple.
    return ((needed / LEAST_THRESHOLD).floor() + 1).mul(LEAST_THRESHOLD).clamp(max=1.0)


def thresholds(states: Mapping[tuple[str, int, str], Any], layers: int) -> tuple[tuple[float, ...], ...]:
    """The table for `XAttention.head_thresholds`.

    Args:
        states: `run.states()` of a run with XAttentionProfile; the largest over branches and transformers counts.
        layers: Layers of the model. One that stayed dense gets threshold 1.

    Returns:
        [layers][heads], rounded to three decimals.

    Raises:
        RecipeError: No call was profiled.
    """
    rows = by_layer(states, torch.maximum, "profiled")
    dense = torch.ones_like(next(iter(rows.values())))
    return tuple(
        tuple(round(value, 3) for value in rows.get(layer, dense).tolist()) for layer in range(layers)
    )
