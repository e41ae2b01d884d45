"""The screening of a tune: every method and density on captured calls, and what one layer's error does to the output.

Attention-level: the calls are replayed densely while a panel computes what every choice would have returned. States of
methods that learn from earlier steps go along from one looked-at step to the next, so a residual or a mask is as old
here as in a generation. Choices that others beat clearly in both error and cost are dropped on the way.
"""

import math
from collections.abc import Callable, Collection
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import ModelError
from videosieve.metrics import relative_l2
from videosieve.recipe import Recipe
from videosieve.schedule import KINDS, DenseFirst, Kind, Table
from videosieve.tuning.capture import Capture
from videosieve.tuning.panel import Contender, Panel
from videosieve.tuning.parts import OutOfTime, Parts, forget_step, read_part, write_part
from videosieve.tuning.replay import Replay, ReuseOnce
from videosieve.tuning.search.candidates import SHORT, Family
from videosieve.tuning.search.screen import Choice, Screen

LAYERS = 16
"""Layers that are looked at; in larger models evenly spread, the others take after their neighbours."""

BEATEN = 1.25
"""A choice is dropped where another has less error and less cost, both by this factor."""

NOW = DenseFirst(0, 0)


def screen(
    captured: Capture,
    choices: list[Family],
    progress: Callable[[int, int], None] | None = None,
    keep: Collection[str] = (),
    parts: Parts | None = None,
) -> Screen:
    """Screen families on a capture.

    Args:
        captured: A dense generation.
        choices: What to screen; none for caching alone.
        progress: Called with (looks done, looks) on the way.
        keep: Names of families that stay even where others beat them.
        parts: Where finished steps are kept and how much time there is; None for no end of it.

    Returns:
        The tables, of as many steps as there was time for.

    Raises:
        ModelError: No family can work on this video.
        OutOfTime: There was not even time for one step.
    """
    report, parts = progress or (lambda _done, _all: None), parts or Parts()
    count, looked = captured.target.layers, captured.looked
    layers, yardstick = _spread_out(count), _yardstick(captured.tokens)
    contenders = [Contender(f, knob, f.recipe(knob, NOW).chooser) for f in choices for knob in f.values]
    sparse, reuse = [], {kind: [] for kind in captured.drift}
    for done, step in enumerate(looked):
        report(done, len(looked))
        try:
            contenders, (own, others) = _look(captured, step, contenders, (yardstick, layers, keep), parts)
        except OutOfTime:
            if not done:
                raise
            forget_step(step, contenders)
            looked = looked[:done]
            break
        sparse.append(_spread(own, layers, count))
        for kind, values in others.items():
            reuse[kind].append(_spread(_nearest(values), layers, count))
    tables = tuple(_choice(c, looked, layers, count) for c in contenders if c.cost)
    if choices and not tables:
        raise ModelError("no method of the search can work on this video; name others with --methods")
    harms = (torch.stack(sparse), {kind: torch.stack(rows) for kind, rows in reuse.items()})
    seen = (captured.drift, captured.share, captured.pace, captured.seconds)
    return Screen(looked, tables, *harms, *seen)


def _look(
    captured: Capture,
    step: int,
    contenders: list[Contender],
    told: tuple[Contender, tuple[int, ...], Collection[str]],
    parts: Parts,
) -> tuple[list[Contender], tuple[list[float], dict[Any, list[float | None]]]]:
    """One step: every contender looks at it, the beaten go, one layer's harm is measured; or as it was before."""
    yardstick, layers, keep = told
    if step in parts.known:
        return read_part(parts.known[step], contenders)
    everyone = [*contenders, yardstick]
    for contender in everyone:
        contender.judged = len(contender.cost)
    panel = Panel(everyone, layers, parts)
    with Replay(captured, Recipe(panel, NOW, min_tokens=0)) as replay:
        replay(step)
    looked = [c for c in panel.contenders if c is not yardstick]
    harms = measure_harm(captured, yardstick, step, layers, parts)
    left = drop_beaten(looked, keep)
    parts.keep(write_part(step, looked, left, harms))
    return left, harms


def _spread_out(count: int) -> tuple[int, ...]:
    """At most LAYERS layers, evenly spread from the first to the last."""
    number = min(count, LAYERS)
    return tuple(sorted({round(i * (count - 1) / max(number - 1, 1)) for i in range(number)}))


def drop_beaten(contenders: list[Contender], keep: Collection[str] = ()) -> list[Contender]:
    """Those that nobody beats clearly in both error and cost, and those of the families to keep."""
    standings = [contender.standing for contender in contenders]

    def beaten(error: float, cost: float) -> bool:
        return any(error > BEATEN * e and cost > BEATEN * c for e, c in standings if c > 0)

    return [
        contender
        for contender, standing in zip(contenders, standings, strict=True)
        if contender.family.name in keep or not beaten(*standing)
    ]


def measure_harm(
    captured: Capture,
    yardstick: Contender,
    step: int,
    layers: tuple[int, ...],
    parts: Parts | None = None,
) -> tuple[list[float], dict[Kind, list[float | None]]]:
    """Velocity error of one layer made sparse, and of one layer reused, each divided by its own error.

    Args:
        captured: A dense generation.
        yardstick: What "sparse" means here, after its looks; errors of other methods are taken relative to its own.
        step: Step to replay, >= 1.
        layers: Layers to try.
        parts: How much time there is; None for no end of it.

    Returns:
        Squared relative L2 of the transformer's output ÷ squared relative L1 of the attention output; and by kind ÷
        squared drift of that kind over one step. One number a layer, None where the layer has no such module.
    """
    sparse: list[float] = []
    reuse: dict[Kind, list[float | None]] = {kind: [] for kind in KINDS if kind in captured.drift}
    for layer in layers:
        if parts is not None:
            parts.require_time()
        recipe = Recipe(yardstick.method, _sparse_once(captured, step, layer), min_tokens=0)
        sparse.append(_harm(captured, recipe, (step,), yardstick.error[step, layer]))
        for kind, found in reuse.items():
            if not captured.share[kind][layer]:
                found.append(None)
                continue
            recipe = Recipe(yardstick.method, ReuseOnce(step, layer, kind), min_tokens=0)
            drift = float(captured.drift[kind][0, step, layer])
            found.append(_harm(captured, recipe, (step - 1, step), drift))
    return sparse, reuse


def _harm(captured: Capture, recipe: Recipe, steps: tuple[int, ...], error: float) -> float:
    """Squared change of the transformer's output at the last of the steps ÷ squared error."""
    with Replay(captured, recipe) as replay:
        outputs = [replay(step) for step in steps]
    moved = relative_l2(outputs[-1].float(), captured.outputs[steps[-1]].float())
    return moved**2 / max(error, 1e-3) ** 2


def _yardstick(tokens: int) -> Contender:
    """The plainest sparse method, with an error large enough to be seen."""
    options = (("block", 32),) if tokens < SHORT else ()
    family = Family("yardstick", "spatial_only", options)
    return Contender(family, 0.3, family.make(0.3))


def _sparse_once(captured: Capture, step: int, layer: int) -> Table:
    layers = captured.target.layers
    rows = ["F" * layers for _ in range(len(captured.pace))]
    rows[step] = "F" * layer + "W" + "F" * (layers - layer - 1)
    return Table(tuple(rows))


def _choice(contender: Contender, looked: tuple[int, ...], layers: tuple[int, ...], count: int) -> Choice:
    error, kept = (
        torch.stack([_spread(_filled(table, step, looked, layers), layers, count) for step in looked])
        for table in (contender.error, contender.recall)
    )
    return Choice(
        contender.family.name, contender.knob, error, kept, median(contender.cost), fmean(contender.density)
    )


def _filled(
    table: dict[tuple[int, int], float], step: int, looked: tuple[int, ...], layers: tuple[int, ...]
) -> list[float]:
    """The values of a step; where a contender was not judged, those of the nearest step at which it was."""
    near = min(looked, key=lambda other: ((other, layers[0]) not in table, abs(other - step)))
    return [table.get((near, layer), math.nan) for layer in layers]


def _nearest(values: list[float | None]) -> list[float]:
    """The values of a kind of module; where a layer has none, that of the nearest layer that has one."""
    given = [index for index, value in enumerate(values) if value is not None]
    nearest = (min(given, key=lambda other: abs(other - index)) for index in range(len(values)))
    return [value for index in nearest if (value := values[index]) is not None]


def _spread(values: list[float], layers: tuple[int, ...], count: int) -> Tensor:
    """Values of some layers for all of them, in between linearly [layers], fp64."""
    at, given = torch.tensor(layers, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    where = torch.arange(count, dtype=torch.float64)
    right = torch.searchsorted(at, where).clamp(max=len(layers) - 1)
    left = torch.where(at[right] > where, right - 1, right)
    part = (where - at[left]) / (at[right] - at[left]).clamp(min=1e-12)
    return given[left] * (1 - part) + given[right] * part
