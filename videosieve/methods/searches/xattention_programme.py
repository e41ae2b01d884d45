"""XAttention's thresholds per head by dynamic programming (arXiv:2503.16428, §2.3), on recall.

The paper lowers thresholds in steps of a tenth: D[h][m], the best performance of the first h heads after m reductions,
is the better of D[h − 1][m] and what head h gives when it is lowered once from D[h − 1][m − 1]. As printed it visits
every head once, needs the model's performance after every reduction, and its code is unpublished. Here performance is
the exact softmax mass that is kept, which adds up over heads, so a head may be lowered any number of times and the
programme is exact: D[h][m] = max over j of D[h − 1][m − j] + recall of head h lowered j times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import Count, check_fields
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, State
from videosieve.methods.estimates.causal_mass import causal_mass
from videosieve.methods.parameters import Block, share
from videosieve.methods.searches.head_tables import by_layer
from videosieve.methods.selection import top_p
from videosieve.methods.xattention import Stride, antidiagonal_mass, check_stride, first_and_diagonal

FACTOR = 0.9
"""What one reduction multiplies a threshold by; the paper's."""


@dataclass(frozen=True, slots=True)
class XAttentionLevels(Method):
    """Computes every causal call in full and notes what each head would keep at every level of the threshold.

    Run it over a few prompts as a method, then hand `run.states()` to `programme` before the run forgets them.

    Attributes:
        start: Threshold before any reduction, in (0, 1]; the paper's 0.9.
        levels: How often a head may be lowered, and one.
        stride: As in XAttention.
        block: As in XAttention.
    """

    name: ClassVar[str] = "xattention_levels"
    causal_name: ClassVar[str] = "xattention_levels"

    start: Annotated[float, share("the threshold before any reduction")] = 0.9
    levels: Count = 12
    stride: Stride = 16
    block: Block = None

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        check_stride(self.stride, self.block)

    @property
    def is_causal(self) -> bool:
        return True

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        """Dense; the state is the sum of recalls, of densities, and of calls: [3, levels, heads]."""
        side = block_side(self.block, call.keys)
        estimate = antidiagonal_mass(call.q, call.k, self.stride, side, scale=call.scale, causal=True)
        exact, first = causal_mass(call, side), first_and_diagonal(call, side)
        pairs = BlockMask.dense(
            call.tokens, BlockSize(side, side), call.keys, call.q.device, causal=True
        ).pairs
        noted = torch.zeros(3, self.levels, call.heads, dtype=torch.float64)
        for level in range(self.levels):
            keep = top_p(estimate, self.start * FACTOR**level, first) & (pairs > 0)
            noted[0, level] = ((exact * keep).sum((-1, -2)) / call.tokens).mean(0).cpu()
            noted[1, level] = ((keep * pairs).sum((-1, -2)) / pairs.sum()).mean(0).cpu()
        noted[2] = 1
        return None, noted if state is None else state + noted


@dataclass(frozen=True, slots=True)
class Programme:
    """What the dynamic programme chose.

    Attributes:
        thresholds: [layers][heads], for `XAttention.head_thresholds`.
        recall: Mean over all heads on the prompts shown.
        density: Likewise, of the causal half.
        reductions: How often a threshold was lowered, in all.
    """

    thresholds: tuple[tuple[float, ...], ...]
    recall: float
    density: float
    reductions: int


def programme(
    states: Mapping[tuple[str, int, str], Any], layers: int, recall: float, start: float = 0.9
) -> Programme:
    """As many reductions as keep a mean recall, on the heads where they cost least of it.

    Args:
        states: `run.states()` of a run with XAttentionLevels.
        layers: Layers of the model. One that stayed dense gets threshold 1 and is not counted.
        recall: Exact softmax mass to keep, mean over heads, in (0, 1].
        start: As in the search.

    Returns:
        The thresholds. Where even those at the start keep less than `recall`, none is lowered.

    Raises:
        RecipeError: No call was noted, or the recall is none.
    """
    if not 0 < recall <= 1:
        raise RecipeError(f"recall is the share of exact mass to keep and must lie in (0, 1], got {recall}")
    noted = by_layer(states, torch.add, "noted")
    numbers = sorted(noted)
    sums = torch.cat([noted[layer] for layer in numbers], -1)  # [3, levels, all heads]
    kept, density = sums[0] / sums[2], sums[1] / sums[2]
    best, choices = best_reductions(kept)
    heads = kept.shape[1]
    enough = (best >= recall * heads - 1e-9).nonzero().flatten()
    reductions = int(enough[-1]) if len(enough) else 0
    levels = torch.zeros(heads, dtype=torch.long)
    left = reductions
    for head in reversed(range(heads)):
        levels[head] = choices[head, left]
        left -= int(levels[head])
    chosen = (start * FACTOR ** levels.double()).split([noted[layer].shape[-1] for layer in numbers])
    rows = {
        layer: tuple(round(value, 4) for value in row.tolist())
        for layer, row in zip(numbers, chosen, strict=True)
    }
    dense = (1.0,) * noted[numbers[0]].shape[-1]
    every = torch.arange(heads)
    return Programme(
        tuple(rows.get(layer, dense) for layer in range(layers)),
        float(kept[levels, every].mean()),
        float(density[levels, every].mean()),
        reductions,
    )


def best_reductions(kept: Tensor) -> tuple[Tensor, Tensor]:
    """The programme itself.

    Args:
        kept: Recall [levels, heads] of every head, lowered so many times.

    Returns:
        D[last head][m] [reductions + 1], and how often each head is lowered in it, int64 [heads, reductions + 1].
    """
    levels, heads = kept.shape
    most = (levels - 1) * heads
    best = torch.full((most + 1,), -torch.inf, dtype=torch.float64)
    best[0] = 0.0
    choices = torch.zeros(heads, most + 1, dtype=torch.long)
    for head in range(heads):
        options = torch.full((levels, most + 1), -torch.inf, dtype=torch.float64)
        for level in range(levels):
            options[level, level:] = best[: most + 1 - level] + kept[level, head]
        best, choices[head] = options.max(0)
    return best, choices
