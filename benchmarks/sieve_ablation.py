"""What each part of sieve is worth: `python -m benchmarks.sieve_ablation`.

Every variant takes one part away, or is a published method; each is brought to the same run density on a pilot video;
then every prompt and seed, fidelity against the dense video of the same noise. The means come with 95 % intervals, with
the videos that became other videos counted apart, and by the background that the caption asks for. Goes on where it was
stopped; `--workers 2` makes two variants at a time with one thread each.
"""

import argparse
import functools
import json
import math
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks.methods_rows import DENSE_STEPS, Bench, calibrate
from benchmarks.rows import read_rows, write_rows
from videosieve.generation.generate import generate
from videosieve.methods import make_method
from videosieve.metrics import psnr
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.shapes import parse_caption

FLIP = 18.0
"""PSNR in dB below which a video counts as another one; two seeds of one caption have 15."""

SIDES = (16, 32, 64)
PIXELS = 16
"""Of a frame of the bundled models that are one token."""


@dataclass(frozen=True, slots=True)
class Variant:
    """sieve with something changed, or another method.

    Attributes:
        method: Its name.
        shared: Whether both branches of guidance have one selection.
        options: Of the method.
        compensate: As in a recipe; sieve answers by itself.
    """

    method: str = "sieve"
    shared: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    compensate: str = "none"

    def recipe(self, knob: float, side: int, tokens: int) -> Recipe:
        """With its density set, a tenth of the steps dense; clusters and blocks as large as sieve's."""
        sizes: dict[str, Any] = {"block": side}
        if self.method == "svg_ear":
            sizes = {"query_clusters": tokens // side, "key_clusters": 2 * tokens // side, "min_share": 0.0}
        method = make_method(self.method, density=knob, **sizes, **dict(self.options))
        recipe = Recipe(method, DenseFirst(DENSE_STEPS, 0), min_tokens=0)
        return recipe.override(shared_selection=self.shared, compensate=self.compensate)


VARIANTS = {
    "sieve": Variant(),
    "each branch chooses": Variant(shared=False),
    "clusters of whole tokens": Variant(options=(("space", "tokens"),)),
    "rank by mass alone": Variant(options=(("rank", "mass"),)),
    "whole tokens, rank by mass": Variant(options=(("space", "tokens"), ("rank", "mass"))),
    "nothing answers": Variant(options=(("centroids", False),)),
    "rank by mass, nothing answers": Variant(options=(("rank", "mass"), ("centroids", False))),
    "svg_ear": Variant("svg_ear"),
    "svg": Variant("svg"),
    "svg, centroids answer": Variant("svg", compensate="centroids"),
}


def measure(bench: Bench, name: str, target: float, side: int) -> dict[str, Any]:
    """One variant at one run density: a figure per video."""
    variant, tokens = VARIANTS[name], bench.dense[0][:, 0].numel() // PIXELS

    def density(knob: float) -> float:
        clip = generate(bench.pipe, bench.requests[0], variant.recipe(knob, side, tokens), recall_rows=0)
        return clip.trace.summary().run_density

    knob, _ = calibrate(density, target)
    recipe = variant.recipe(knob, side, tokens)
    clips = [generate(bench.pipe, request, recipe, recall_rows=0) for request in bench.requests]
    return {
        "variant": name,
        "target": target,
        "knob": knob,
        "run_density": fmean(clip.trace.summary().run_density for clip in clips),
        "psnr": [psnr(clip.frames, dense).mean for clip, dense in zip(clips, bench.dense, strict=True)],
        "backgrounds": [parse_caption(request.prompt).background or "any" for request in bench.requests],
        "accuracy": bench.accuracy([clip.frames for clip in clips]),
    }


def interval(values: list[float]) -> float:
    """Half the width of the 95 % interval of a mean, by the normal distribution."""
    return 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: variants, their means, flips; then means by background."""
    lines = [
        "| target | variant | run density | PSNR, dB | below 18 dB | captions right |",
        "| --- " * 6 + "|",
    ]
    for row in sorted(rows, key=lambda row: (row["target"], -fmean(row["psnr"]))):
        values, flips = row["psnr"], sum(value < FLIP for value in row["psnr"])
        lines.append(
            f"| {row['target']:.1f} | {row['variant']} | {row['run_density']:.3f} | {fmean(values):.1f} "
            f"± {interval(values):.1f} | {flips} of {len(values)} | {row['accuracy']:.2f} |"
        )
    names = sorted({name for row in rows for name in row["backgrounds"]})
    lines += ["", f"| target | variant | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for row in rows:
        pairs = list(zip(row["backgrounds"], row["psnr"], strict=True))
        cells = [[value for name, value in pairs if name == wanted] for wanted in names]
        means = " | ".join(f"{fmean(cell):.1f}" if cell else "" for cell in cells)
        lines.append(f"| {row['target']:.1f} | {row['variant']} | {means} |")
    return "\n".join(lines)


_own_bench = functools.cache(Bench)  # one a worker process


def _work(given: tuple[Any, ...], task: tuple[str, float, int]) -> dict[str, Any]:
    return measure(_own_bench(*given), *task)


def main() -> None:
    """Make the rows that are missing and print all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", default="shapes-s")
    parser.add_argument(
        "--side", type=int, default=32, choices=SIDES, help="mean queries of a cluster, tokens"
    )
    parser.add_argument("--densities", default="0.3,0.5")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="separated by semicolons")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/sieve_ablation.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "videosieve-methods")
    given = parser.parse_args()
    bench = (given.prompts, given.seeds, given.steps, given.work, given.model)
    settings = {"model": given.model, "prompts": given.prompts, "seeds": given.seeds, "steps": given.steps}
    results = read_rows(given.output, settings | {"side": given.side})
    done = {(row["variant"], row["target"]) for row in results["rows"]}
    wanted = [(name, float(d)) for d in given.densities.split(",") for name in given.variants.split(";")]
    context = multiprocessing.get_context("spawn")
    _own_bench(*bench)  # makes the dense videos once
    with ProcessPoolExecutor(given.workers, context, torch.set_num_threads, (1,)) as pool:
        tasks = [pool.submit(_work, bench, (*task, given.side)) for task in wanted if task not in done]
        for future in as_completed(tasks):
            results["rows"].append(future.result())
            write_rows(given.output, results)
            print(json.dumps(results["rows"][-1]), flush=True)
    print(table(results["rows"]))


if __name__ == "__main__":
    main()
