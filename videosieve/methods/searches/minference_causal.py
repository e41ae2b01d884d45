"""MInference's head tables for language models: its offline search, and the form in which its authors ship them.

The search is the paper's Algorithm 1: of shapes of about equal cost, the one whose output differs least from full
attention, over as many calls as are shown. The authors' released code picks by kept mass and turns every other winner
into vertical-slash.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.files import read_json
from videosieve.kernels import dense_attention
from videosieve.methods.base import Method, State, attend_selected
from videosieve.methods.minference_causal import CausalMInference, HeadShape
from videosieve.methods.parameters import Block
from videosieve.methods.searches.head_tables import by_layer, choose_by_head

CANDIDATES = (
    ("a_shape", 1024, 4096),
    ("vertical_slash", 30, 2048),
    ("vertical_slash", 100, 1800),
    ("vertical_slash", 500, 1500),
    ("vertical_slash", 3000, 200),
    ("block_sparse", 100, 0),
)
"""The paper's."""

PUBLISHED = {"vertical_and_slash": "vertical_slash", "stream_llm": "a_shape", "block_sparse": "block_sparse"}
"""The authors' names of shapes, and ours."""


@dataclass(frozen=True, slots=True)
class CausalMInferenceSearch(Method):
    """Computes every call in full and under every candidate, and adds up the differences.

    Run it over a long prompt or a few as a method, then hand `run.states()` to `best_patterns` before the run ends.

    Attributes:
        candidates: Shapes with their counts, of about equal cost.
        budget: As in CausalMInference; of each candidate.
        block: As in CausalMInference.
    """

    name: ClassVar[str] = "minference_causal_search"
    causal_name: ClassVar[str] = "minference_causal_search"

    candidates: tuple[HeadShape, ...] = CANDIDATES
    budget: float | None = None
    block: Block = None

    @property
    def is_causal(self) -> bool:
        return True

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        """Dense; the state is the sum of mean squared differences [candidates, heads]."""
        full = dense_attention(call.q, call.k, call.v, scale=call.scale, causal=True).float()
        errors = []
        for shape in self.candidates:
            table = tuple((shape,) * call.heads for _ in range(call.site.layers))
            method = CausalMInference(head_patterns=table, budget=self.budget, block=self.block)
            output = attend_selected(call, method.select(call, None)[0]).output.float()
            errors.append((output - full).square().mean((0, 2, 3)))
        error = torch.stack(errors)
        return None, error if state is None else state + error


def best_patterns(
    states: Mapping[tuple[str, int, str], Any],
    layers: int,
    candidates: tuple[HeadShape, ...] = CANDIDATES,
) -> tuple[tuple[HeadShape, ...], ...]:
    """The table for `CausalMInference.head_patterns`.

    Args:
        states: `run.states()` of a run with CausalMInferenceSearch.
        layers: Layers of the model. One that stayed dense gets ("vertical_slash", 1000, 6096).
        candidates: Those of the search, in its order.

    Returns:
        [layers][heads]; ties go to the first candidate.

    Raises:
        RecipeError: No call was searched.
    """
    errors = by_layer(states, torch.add, "searched")
    best = {layer: error.argmin(0) for layer, error in errors.items()}
    return choose_by_head(best, candidates, layers, ("vertical_slash", 1000, 6096))


def read_published(path: str | Path) -> tuple[tuple[HeadShape, ...], ...]:
    """The table of a settings file in the form that MInference ships for its models.

    Args:
        path: JSON: a list with an object per layer, from head number to [shape, count, count, score].

    Returns:
        [layers][heads] for `CausalMInference.head_patterns`.

    Raises:
        RecipeError: The file is missing or not of that form.
    """
    form = 'a list with an object per layer: {"0": ["vertical_and_slash", 1000, 6096, 1.0], …}'
    layers = read_json(path, "head patterns", RecipeError)
    if (
        not isinstance(layers, list)
        or not layers
        or not all(isinstance(layer, dict) and layer for layer in layers)
    ):
        raise RecipeError(f"head patterns in {str(path)!r} must be {form}")
    table = []
    for number, layer in enumerate(layers):
        row = []
        for head in range(len(layer)):
            entry = layer.get(str(head))
            if (
                not isinstance(entry, list)
                or len(entry) < 3
                or entry[0] not in PUBLISHED
                or not all(type(count) is int and count >= 0 for count in entry[1:3])
            ):
                raise RecipeError(
                    f"head patterns in {str(path)!r} must be {form}; layer {number}, head {head} is {entry!r}"
                )
            row.append((PUBLISHED[entry[0]], entry[1], entry[2]))
        table.append(tuple(row))
    return tuple(table)
