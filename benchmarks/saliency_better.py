"""What lifts `concept` on the bundled model: `python -m benchmarks.saliency_better`.

Layers and switches were chosen on 24 rendered clips (`--first 2100000000 --clips 24`); the figures reported are of 60
others. Every variant is the mean of probabilities over its layers at two noise levels of the same noisy clips.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.files import write_text
from videosieve.generation.load import load_pipeline
from videosieve.planning.machine import describe_machine, describe_versions
from videosieve.scenes import Report, Score, rendered_scenes
from videosieve.scenes.looking import look_at, score_found

RESULTS = Path(__file__).parent / "results" / "saliency_better.json"
REPORTED = 2_200_000_000
STEPS, LEVELS = 10, (7, 8)
METHODS = {
    "both": SaliencyMethod(keep="sites"),
    "none": SaliencyMethod(keep="sites", sight="none"),
    "cross": SaliencyMethod("cross_attention", keep="sites"),
    "by layer": SaliencyMethod(sight={0: "both", 2: "none", 3: "none"}),
}
EVERY = tuple(range(8))


@dataclass(frozen=True)
class Variant:
    """One way to make maps.

    Attributes:
        parts: Layers by name in `METHODS`, whose sites are averaged; empty takes its maps as the call gives them.
        levels: Denoising steps.
    """

    parts: dict[str, tuple[int, ...]]
    levels: tuple[int, ...] = LEVELS


VARIANTS = {
    "concept, every layer, one noise level (the default)": Variant({"both": EVERY}, (8,)),
    "two noise levels": Variant({"both": EVERY}),
    "two levels, layers 0, 2, 3": Variant({"both": (0, 2, 3)}),
    "concepts see nothing, every layer": Variant({"none": EVERY}),
    "concepts see nothing, layers 0, 2, 3": Variant({"none": (0, 2, 3)}),
    "the same at the noisier level alone": Variant({"none": (0, 2, 3)}, (7,)),
    "layer 0 sees both, layers 2 and 3 see nothing": Variant({"by layer": ()}),
    "cross_attention, layer 4": Variant({"cross": (4,)}),
}


def score_variants(pipe: Any, clips: int, first: int) -> dict[str, Report]:
    """Every variant on consecutive rendered clips."""
    scores: dict[str, list[Score]] = {name: [] for name in VARIANTS}
    names = []
    used = list(dict.fromkeys(method for variant in VARIANTS.values() for method in variant.parts))
    scenes = rendered_scenes(clips, pipe.vae.sample_size, first)
    for seed, scene in enumerate(track(scenes, "clips", clips, console=Console(stderr=True))):
        names.append(scene.name)
        found = look_at(
            pipe, scene, [METHODS[name] for name in used], None, LEVELS, seed, num_inference_steps=STEPS
        )
        seen = dict(zip(used, found, strict=True))
        for name, variant in VARIANTS.items():
            scores[name].append(score_found(found[0], scene.truth, _maps(seen, variant)))
    return {name: Report(tuple(names), tuple(values)) for name, values in scores.items()}


def _maps(seen: dict[str, SaliencyMaps], variant: Variant) -> Tensor:
    maps: list[Tensor] = []
    for method, layers in variant.parts.items():
        found = seen[method]
        maps += [found.parts[layer, step] for layer in layers for step in variant.levels] or [found.maps]
    return torch.stack(maps).mean(0)


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    figures = ("pixel_accuracy", "miou", "object_iou", "map")
    lines = ["| maps | pixel accuracy | mIoU (95 %) | object IoU | mAP |", "| --- | --- | --- | --- | --- |"]
    for name, one in results.items():
        values = [f"{one['figures'][figure]:.3f}" for figure in figures]
        low, high = one["intervals"]["miou"]
        values[1] += f" ({low:.3f} – {high:.3f})"
        lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Score what was tried to lift concept maps.")
    parser.add_argument("--clips", type=int, default=60, help="rendered clips, >= 1")
    parser.add_argument("--first", type=int, default=REPORTED, help="seed of the first clip")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args()
    reports = score_variants(load_pipeline("shapes-s", "cpu"), options.clips, options.first)
    results = {name: report.as_json() for name, report in reports.items()}
    for one in results.values():
        del one["by_scene"]
    about = {"clips": options.clips, "first": options.first, "machine": describe_machine(torch.device("cpu"))}
    write_text(
        options.output,
        json.dumps({**about, "versions": describe_versions(), "scores": results}, indent=1) + "\n",
    )
    print(table(results))


if __name__ == "__main__":
    main()
