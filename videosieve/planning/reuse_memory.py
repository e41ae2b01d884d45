"""What output reuse will hold in memory, from the layout alone: before the run, before a single token is computed."""

from collections.abc import Iterator
from typing import Any

from videosieve.errors import RecipeError
from videosieve.forward import Site
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.layout import VideoLayout
from videosieve.methods.window_residual import WindowResidual
from videosieve.recipe import Recipe
from videosieve.schedule import Action, Kind, Schedule


def reuse_memory(
    target: Any, recipe: Recipe, layout: VideoLayout, *, steps: int = 50, batch: int = 1, branches: int = 1
) -> dict[str, int]:
    """Bytes that a recipe will hold at most between steps: bytes per layer × layers × branches.

    Args:
        target: A diffusers pipeline or a transformer.
        recipe: What is to run.
        layout: The attention sequence, text with its padding.
        steps: Denoising steps.
        batch: Elements of the transformer's batch; guidance in one batch counts twice.
        branches: Calls per step; 2 where guidance is two calls.

    Returns:
        Bytes of stored outputs by kind, as `run.memory().peak_outputs` has their sum, and of "residual", DiTFastAttn's.
        Other methods' states are not foreseen. Of several transformers, the one that holds most.

    Raises:
        RecipeError: steps, batch or branches is not positive.
    """
    for name, value in (("steps", steps), ("batch", batch), ("branches", branches)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RecipeError(f"{name} must be an int >= 1, got {value!r}")
    if layout.tokens < recipe.min_tokens:
        return {}
    found = [_of_target(one, recipe, layout, steps, batch * branches) for one in describe(target)]
    return max(found, key=lambda parts: sum(parts.values()))


def _of_target(found: Target, recipe: Recipe, layout: VideoLayout, steps: int, copies: int) -> dict[str, int]:
    transformer: Any = found.transformer
    token = found.heads * found.head_dim * transformer.dtype.itemsize * copies
    parts = {
        kind: layout.tokens * token * _most_layers(found, recipe.schedule, kind, steps)
        for kind in recipe.schedule.reused_kinds
        if found.row.reusable(transformer, kind)
    }
    if isinstance(recipe.method, WindowResidual) and recipe.method.residual:
        sites = (
            [Site(layer, found.layers, step, steps) for step in range(steps)] for layer in range(found.layers)
        )
        layers = sum(any(recipe.schedule.action(s) is Action.SPARSE for s in layer) for layer in sites)
        parts["residual"] = layout.grid.tokens * token * layers
    return parts


def _most_layers(found: Target, schedule: Schedule, kind: Kind, steps: int) -> int:
    """Layers whose output is held at once, at the step with most of them."""
    layers = list(_layers_with(found, kind))
    counts = (
        sum(schedule.reuses(kind, Site(layer, found.layers, step, steps)) for layer in layers)
        for step in range(steps)
    )
    return max(counts, default=0)


def _layers_with(found: Target, kind: Kind) -> Iterator[int]:
    blocks = {name.rpartition(".")[0] for name in found.row.reusable(found.transformer, kind)}
    for layer, name in enumerate(found.attentions):
        if name.rpartition(".")[0] in blocks:
            yield layer
