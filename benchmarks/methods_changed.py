"""Why methods rank here as they do: rows of `benchmarks.methods` again with one thing changed.

`python -m benchmarks.methods_changed` reads the knobs that the table found at one run density and makes the same videos
with one selection for both branches of guidance, with AdaSpa's first search on top of the density instead of inside it,
and with Sliding Tile's windows searched head by head. Goes on where it was stopped, as the table does.
"""

import argparse
import functools
import json
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.methods_rows import OPTIONS, Bench
from benchmarks.rows import read_rows, write_rows
from videosieve.generation.generate import generate
from videosieve.integrations.diffusers import sparsify
from videosieve.judging.evaluate import unseen_captions
from videosieve.methods import make_method
from videosieve.methods.searches.sliding_tile import SlidingTileSearch, best_windows
from videosieve.metrics import psnr
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst

SHARED = "one selection for both branches"
SEARCHED = "windows searched head by head"
ON_TOP = "its first search not counted: the density of `svg`"
CHANGES = (
    *((name, SHARED) for name in ("xattention", "adaspa", "sparge", "svg2", "svg")),
    ("adaspa", ON_TOP),
    ("sliding_tile", SEARCHED),
    *((name, SHARED) for name in ("minference", "draft", "vsa_coarse", "oracle_top_k")),
)
WINDOWS = ((2, 2, 2), (4, 2, 1), (4, 1, 2), (8, 1, 1))
"""A quarter of the 8 × 2 × 2 tiles each."""

CAPTIONS = 4  # seed of the search's captions; the table's are another's
Knobs = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """A method with one change; means over videos."""

    method: str
    change: str
    run_density: float
    psnr: float
    accuracy: float
    videos: int


def shared(bench: Bench, knobs: Knobs, method: str) -> Recipe:
    """The table's recipe with one selection."""
    plain = bench.recipe(method, knobs[method])
    return plain.override(shared_selection=True)


def on_top(bench: Bench, knobs: Knobs, method: str) -> Recipe:
    """As many blocks in its sparse steps as the other method has in all."""
    return bench.recipe(method, knobs["svg"])


def searched(bench: Bench, knobs: Knobs, method: str) -> Recipe:
    """A window of a quarter of the tiles for every head, searched on other captions."""
    del knobs
    tile, steps = OPTIONS[method]["tile"], bench.settings["steps"]
    layers: int = bench.pipe.transformer.config.num_layers + bench.pipe.transformer.config.num_single_layers
    search = Recipe(SlidingTileSearch(WINDOWS, tile), DenseFirst(0, 0), min_tokens=0)
    states: dict[tuple[str, int, str], torch.Tensor] = {}
    with sparsify(bench.pipe, search, recall_rows=0) as run:
        for text in unseen_captions(4, seed=CAPTIONS):
            bench.pipe(text, num_inference_steps=steps, output_type="latent")
            for key, errors in run.states().items():
                states[key] = states.get(key, torch.zeros(())) + errors
    windows = best_windows(states, WINDOWS, layers)
    chosen = make_method(method, tile=tile, head_windows=windows)
    return Recipe(chosen, DenseFirst(bench.settings["dense_steps"], 0), min_tokens=0)


MAKERS: dict[str, Callable[[Bench, Knobs, str], Recipe]] = {
    SHARED: shared,
    ON_TOP: on_top,
    SEARCHED: searched,
}


def measure(bench: Bench, knobs: Knobs, method: str, change: str) -> Row:
    """The videos of the table with a change."""
    recipe = MAKERS[change](bench, knobs, method)
    clips = [generate(bench.pipe, request, recipe, recall_rows=0) for request in bench.requests]
    return Row(
        method,
        change,
        fmean(clip.trace.summary().run_density for clip in clips),
        fmean(psnr(clip.frames, dense).mean for clip, dense in zip(clips, bench.dense, strict=True)),
        bench.accuracy([clip.frames for clip in clips]),
        len(clips),
    )


_own_bench = functools.cache(Bench)  # one a worker process


def _work(given: tuple[Any, ...], knobs: Knobs, task: tuple[str, str]) -> Row:
    return measure(_own_bench(*given), knobs, *task)


def table(before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What every change gained, as Markdown."""
    plain = {row["method"]: row for row in before}
    lines = ["| changed | method | run density | PSNR, dB | captions right |", "| --- " * 5 + "|"]
    for row in sorted(rows, key=lambda row: (row["change"], row["method"])):
        old = plain[row["method"]]
        pairs = ((old[key], row[key]) for key in ("run_density", "psnr", "accuracy"))
        cells = [f"{a:.{digits}f} → {b:.{digits}f}" for (a, b), digits in zip(pairs, (3, 2, 2), strict=True)]
        lines.append(f"| {row['change']} | `{row['method']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are missing and print all beside the table's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, default=Path("benchmarks/results/methods.json"))
    parser.add_argument("--target", type=float, default=0.3, help="run density of the table's rows")
    parser.add_argument("--workers", type=int, default=1, help="rows made at a time, one thread each")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/methods_changed.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "videosieve-methods")
    given = parser.parse_args()
    made = json.loads(given.table.read_text(encoding="utf-8"))
    before = [row for row in made["rows"] if row["target"] == given.target]
    knobs = {row["method"]: row["knob"] for row in before}
    about = made["settings"]
    bench = (about["prompts"], about["seeds"], about["steps"], given.work)
    results = read_rows(given.output, about | {"target": given.target})
    done = {(row["method"], row["change"]) for row in results["rows"]}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context, torch.set_num_threads, (1,)) as pool:
        tasks = [pool.submit(_work, bench, knobs, task) for task in CHANGES if task not in done]
        for future in as_completed(tasks):
            results["rows"].append(asdict(future.result()))
            write_rows(given.output, results)
            print(results["rows"][-1], flush=True)
    print(table(before, results["rows"]))


if __name__ == "__main__":
    main()
