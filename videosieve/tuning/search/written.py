"""Hand-written recipes as candidates: what they do at every step and layer, so that they can be varied."""

from dataclasses import fields, replace
from itertools import product
from math import ceil
from typing import Any

from videosieve.forward import Site
from videosieve.methods import Dense
from videosieve.methods.registry import METHODS
from videosieve.recipe import Recipe
from videosieve.schedule import KINDS, Broadcast, DenseFirst, FirstMatch, Schedule
from videosieve.tuning.search.candidates import CACHING, Candidate, Family

ENDING = " as written"
_TINY = 1e-9  # keeps products such as 0.29 * 100 on their integer


def written_family(recipe: Recipe) -> Family | None:
    """The method of a recipe, its options and the recipe's own as they are; None for dense attention: no screening."""
    method = recipe.method
    if isinstance(method, Dense):
        return None
    plain = METHODS[method.name]()
    changed = ((item.name, getattr(method, item.name)) for item in fields(method))  # type: ignore[arg-type]
    options = tuple((key, value) for key, value in changed if value != getattr(plain, key))
    own = recipe.compensate, recipe.token_order, recipe.shared_selection, recipe.prefer
    return Family(recipe.name + ENDING, method.name, options, "", (1.0,), *own)


def written_candidate(recipe: Recipe, steps: int, layers: int) -> Candidate:
    """A recipe as a candidate that runs exactly that recipe.

    Args:
        recipe: Any recipe.
        steps: Denoising steps.
        layers: Layers of the model.

    Returns:
        The candidate. It says what happens when and where, unless its schedule is one that candidates cannot describe
        (a plan, feed-forward reuse in some layers only); then it can be measured, and neither predicted nor varied.
    """
    family = written_family(recipe)
    text = recipe.to_toml()
    schedule = recipe.schedule
    described = Candidate(CACHING if family is None else family.name)
    parts = schedule.parts if isinstance(schedule, FirstMatch) else (schedule,)
    values: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, DenseFirst):
            values |= {"dense_steps": _floor(part.steps, steps), "dense_layers": _floor(part.layers, layers)}
        elif isinstance(part, Broadcast):
            window = (ceil(part.start * steps - _TINY), ceil(part.stop * steps - _TINY))
            values |= {"reuse": part.range, "mlp": part.mlp, "cross": part.cross, "offset": part.offset}
            values |= dict(zip(("start", "stop"), window, strict=True))
    described = replace(described, given=text, label=recipe.name, **values)
    same = _actions(described.schedule(steps), steps, layers) == _actions(schedule, steps, layers)
    return described if same else Candidate(given=text, label=recipe.name)


def _floor(value: float | int, total: int) -> int:
    return min(value, total) if isinstance(value, int) else int(value * total + _TINY)


def _actions(schedule: Schedule, steps: int, layers: int) -> list[tuple[object, ...]]:
    sites = [Site(layer, layers, step, steps) for step, layer in product(range(steps), range(layers))]
    return [(schedule.action(site), *(schedule.reuses(kind, site) for kind in KINDS)) for site in sites]
