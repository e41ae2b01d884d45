"""MInference's offline search: which shape keeps most of a head's softmax mass at equal density.

The paper picks the shape with the smallest output error on one sample; its released code picks by kept mass and then
turns every other winner into vertical-slash. Here the mass decides, over as many calls as are shown, and winners stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from videosieve.call import AttentionCall
from videosieve.fields import Count, Seed
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, State
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.geometry.minference_patterns import PATTERNS, pattern_blocks
from videosieve.methods.parameters import Block, share
from videosieve.methods.searches.head_tables import by_layer, choose_by_head


@dataclass(frozen=True, slots=True)
class MInferenceSearch(Method):
    """Computes every call in full and adds up the recall of every shape.

    Run it over a few prompts as a method, then hand `run.states()` to `best_patterns` before the run forgets them.

    Attributes:
        density: As in MInference.
        rows: As in MInference.
        block: As in MInference.
        seed: As in MInference.
    """

    name: ClassVar[str] = "minference_search"

    density: Annotated[float, share("the share of query–key blocks to keep")] = 0.3
    rows: Count = 64
    block: Block = None
    seed: Seed = 0

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        side = block_side(self.block, call.tokens)
        mass = exact_mass(call, side)
        blocks = pattern_blocks(call, PATTERNS, self.density, side, self.rows, self.seed)
        recall = torch.stack([(mass * keep).sum((-1, -2)).mean(0) for keep in blocks.values()])
        recall = recall / call.tokens
        return None, recall if state is None else state + recall


def best_patterns(states: Mapping[tuple[str, int, str], Any], layers: int) -> tuple[tuple[str, ...], ...]:
    """The table for `MInference.head_patterns`.

    Args:
        states: `run.states()` of a run with MInferenceSearch; recalls of branches and transformers are added up.
        layers: Layers of the model. One that stayed dense gets "vertical_slash".

    Returns:
        [layers][heads]; ties go to the first of PATTERNS.

    Raises:
        RecipeError: No call was searched.
    """
    recalls = by_layer(states, torch.add, "searched")
    best = {layer: recall.argmax(0) for layer, recall in recalls.items()}
    return choose_by_head(best, PATTERNS, layers, "vertical_slash")
