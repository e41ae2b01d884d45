"""From the states of a search to a table with one entry per layer and head."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from videosieve.errors import RecipeError

Entry = TypeVar("Entry")


def by_layer(
    states: Mapping[tuple[str, int, str], Any], join: Callable[[Tensor, Tensor], Tensor], done: str
) -> dict[int, Tensor]:
    """The states of branches and transformers joined, layer by layer.

    Args:
        states: `run.states()` of a run with the search, by transformer, layer and branch.
        join: Makes one state of two of the same layer.
        done: What the search does with a call, for the error: "searched".

    Returns:
        At least one layer, as the search keeps it.

    Raises:
        RecipeError: No call was searched.
    """
    layers: dict[int, Tensor] = {}
    for (_, layer, _), state in states.items():
        layers[layer] = join(layers[layer], state) if layer in layers else state
    if not layers:
        raise RecipeError(
            f"no attention call was {done}; use dense_steps=0, dense_layers=0 and read the states before the run ends"
        )
    return layers


def choose_by_head(
    best: Mapping[int, Tensor], candidates: Sequence[Entry], layers: int, otherwise: Entry
) -> tuple[tuple[Entry, ...], ...]:
    """The candidate of every head.

    Args:
        best: Index of the best candidate [heads] by layer; at least one layer.
        candidates: What the indices mean.
        layers: Layers of the model.
        otherwise: For every head of a layer that was not searched.

    Returns:
        [layers][heads].
    """
    heads = len(next(iter(best.values())))
    return tuple(
        tuple(candidates[i] for i in best[layer].tolist()) if layer in best else (otherwise,) * heads
        for layer in range(layers)
    )
