"""The head atlas: which heads of a model are spatial, temporal or neither, and what a density keeps of their mass."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from videosieve.atlas.probe import DENSITIES, AtlasProbe, Sighting
from videosieve.errors import ModelError
from videosieve.fields import In, checked
from videosieve.files import write_text
from videosieve.generation.generate import Progress, generate
from videosieve.generation.request import Request
from videosieve.planning.machine import describe_versions
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst

REFERENCE = DENSITIES.index(0.3)
PHASES = 4


@dataclass(frozen=True)
class HeadAtlas:
    """Averages over prompts and steps.

    Attributes:
        model: Name or folder; "… (random weights)" for untrained ones.
        videos: Generations that were looked at.
        density: Executed density of the bands [densities].
        temporal_share: Share of calls in which SVG takes a head for temporal, at density 0.3 [layers, heads].
        band: Recall of SVG's choice, at density 0.3 [layers, heads].
        oracle: Recall of the best blocks, at density 0.3 [layers, heads].
        kinds: "spatial", "temporal" or "other" [layers][heads]; see `name_kinds`.
        recall: Mean recall by mask ("static", "svg", "oracle") [densities].
        recall_over_steps: SVG's recall at density 0.3 in the quarters of the steps [4, layers]; NaN if unseen.
        temporal_over_steps: Share of temporal heads in the same quarters [4, layers].
    """

    model: str
    videos: int
    density: Tensor
    temporal_share: Tensor
    band: Tensor
    oracle: Tensor
    kinds: list[list[str]]
    recall: dict[str, Tensor]
    recall_over_steps: Tensor
    temporal_over_steps: Tensor

    def share(self, kind: str) -> float:
        """Share of heads of a kind, in [0, 1]."""
        return sum(row.count(kind) for row in self.kinds) / sum(len(row) for row in self.kinds)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to four digits; None for NaN."""
        plain = {key: _plain(value) for key, value in vars(self).items() if key != "recall"}
        shares = {kind: round(self.share(kind), 4) for kind in ("spatial", "temporal", "other")}
        return {
            **plain,
            "recall": {key: _plain(value) for key, value in self.recall.items()},
            "shares": shares,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(torch.round(value.double(), decimals=4).tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value  # JSON has no NaN


Every = Annotated[
    int,
    In("[1, inf)", "means to look at every step (1) or every so many (2, 3, …)", "give a whole number >= 1"),
]


def survey(
    pipe: Any,
    requests: list[Request],
    model: str,
    every: int = 1,
    progress: Callable[[int, Progress], None] | None = None,
) -> HeadAtlas:
    """Generate densely and look at every head on the way.

    Args:
        pipe: A diffusers video pipeline.
        requests: What to generate; at least one.
        model: Name for the record.
        every: Look at every so many steps, >= 1.
        progress: Called after every step with the number of finished videos and the position.

    Returns:
        The atlas.

    Raises:
        ModelError: `every` is below 1, or the pipeline made no attention call that can be sparse.
    """
    every = checked("every", every, Every, ModelError)
    probe = AtlasProbe(every=every)
    recipe = Recipe(probe, DenseFirst(steps=0, layers=0), min_tokens=0)
    for index, request in enumerate(requests):
        generate(pipe, request, recipe, progress=progress and (lambda at, done=index: progress(done, at)))
    if not probe.sightings:
        raise ModelError(f"{model} made no self-attention call over a whole video; nothing was seen")
    return summarise_sightings(probe.sightings, model, len(requests))


def untrained(model: str) -> Any:
    """The pipeline of a bundled model before training: what its attention looks like when nothing was learned.

    Args:
        model: Name of a bundled model.

    Returns:
        The pipeline, float32 on the CPU.

    Raises:
        ModelError: It is no bundled model.
    """
    from videosieve.shapes.model import build_networks
    from videosieve.shapes.pipeline import ShapesPipeline

    pipe = ShapesPipeline.from_networks(build_networks(model))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def summarise_sightings(sightings: list[Sighting], model: str, videos: int) -> HeadAtlas:
    """Average what was seen; every layer must have been seen equally often.

    Args:
        sightings: In any order.
        model: Name for the record.
        videos: Generations that were looked at.

    Returns:
        The atlas.
    """
    layers = sorted({seen.layer for seen in sightings})
    by_layer = [[seen for seen in sightings if seen.layer == layer] for layer in layers]

    def stack(name: str) -> Tensor:  # [layers, calls, densities, heads]
        return torch.stack([torch.stack([getattr(seen, name) for seen in group]) for group in by_layer])

    bands = torch.stack([stack("spatial"), stack("temporal")])
    kind, oracle = stack("kind"), stack("oracle")
    chosen = torch.where(kind.bool(), bands[1], bands[0])
    static = bands.mean(2).amax(0)  # [layers, densities, heads]: one kind for all calls
    quarter = torch.tensor([PHASES * seen.step // seen.steps for seen in by_layer[0]])
    in_quarter = [quarter == number for number in range(PHASES)]
    at = REFERENCE
    density = sightings[0].density
    band, best = chosen[:, :, at].mean(1), oracle[:, :, at].mean(1)
    temporal = kind[:, :, at].mean(1)
    return HeadAtlas(
        model,
        videos,
        density,
        temporal,
        band,
        best,
        name_kinds(temporal, band, best, float(density[at])),
        {"static": static.mean((0, 2)), "svg": chosen.mean((0, 1, 3)), "oracle": oracle.mean((0, 1, 3))},
        torch.stack([chosen[:, part, at].mean((1, 2)) for part in in_quarter]),
        torch.stack([kind[:, part, at].mean((1, 2)) for part in in_quarter]),
    )


def name_kinds(temporal_share: Tensor, band: Tensor, oracle: Tensor, density: float) -> list[list[str]]:
    """Name every head.

    A head is "other" where its band holds less than half of what the best blocks hold beyond uniform attention, whose
    recall is the density: (band − density) < (oracle − density) / 2. Otherwise it is what SVG takes it for most often.

    Args:
        temporal_share: Share of calls taken for temporal [layers, heads].
        band: Recall of SVG's band [layers, heads].
        oracle: Recall of the best blocks [layers, heads].
        density: Executed density.

    Returns:
        "spatial", "temporal" or "other" [layers][heads].
    """
    other = (band - density) < (oracle - density) / 2
    names = torch.where(other, 2, (temporal_share > 0.5).long())
    return [[("spatial", "temporal", "other")[index] for index in row] for row in names.tolist()]


def write_atlases(atlases: list[HeadAtlas], path: Path) -> None:
    """Write atlases as JSON.

    Args:
        atlases: One a model.
        path: A .json file.

    Raises:
        OutputError: It cannot be written.
    """
    content = {"versions": describe_versions(), "atlases": [atlas.as_json() for atlas in atlases]}
    write_text(path, json.dumps(content, indent=1) + "\n")
