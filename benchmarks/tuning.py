"""Tuned recipes beside the hand-written ones at equal quality: `python -m benchmarks.tuning tuned/recipe.toml`.

Every recipe runs on the same videos of the bundled model, none of which a tune without prompts sees (other captions
altogether). TOGETHER recipes at a time run between two dense calls, in rounds over all recipes, so that all of them
meet the same machine; seconds are medians. A hand-written recipe is beaten where a tuned one has at least its PSNR and
is faster.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median

from videosieve.bench.timing import describe_machine
from videosieve.generation.load import load_pipeline
from videosieve.generation.request import Request, default_steps
from videosieve.judging.evaluate import unseen_captions
from videosieve.metrics import psnr
from videosieve.recipe import Recipe, bundled_recipes
from videosieve.tuning.trials import shoot

DENSE = Recipe.of("dense")
TOGETHER = 4
CAPTIONS = 3  # seed of the captions; a tune without prompts takes those of 1 and 2


@dataclass(frozen=True, slots=True)
class Row:
    """One recipe.

    Attributes:
        name: What it is called.
        tuned: Whether it came from a tune.
        psnr: Mean over videos, dB.
        worst: Of the worst video, dB.
        seconds: Median over videos.
        speedup: Median over videos of the mean of the two dense calls around it ÷ seconds.
        run_density: Mean over videos.
        beaten: Whether a tuned recipe has at least its PSNR and is faster.
    """

    name: str
    tuned: bool
    psnr: float
    worst: float
    seconds: float
    speedup: float
    run_density: float
    beaten: bool = False


def hand_written() -> list[Recipe]:
    """The bundled recipes that are for no model in particular."""
    return [Recipe.of(name) for name in bundled_recipes() if "-" not in name]


def read_tuned(path: Path) -> list[Recipe]:
    """The recipe of a .toml file, or the front of a tune.json without what it was given to start with."""
    if path.suffix == ".toml":
        return [replace(Recipe.load(path), name=path.parent.name)]
    points = json.loads(path.read_text(encoding="utf-8"))["points"]
    front = [point for point in points if point["front"] and not point["candidate"]["given"]]
    name = path.parent.name
    return [Recipe.from_toml(p["recipe"].replace('"tuned"', f'"{name}: {p["name"]}"', 1)) for p in front]


def measure(model: str, recipes: list[tuple[Recipe, bool]], videos: int, steps: int) -> list[Row]:
    """All recipes on the same videos, by turns with dense ones."""
    pipe = load_pipeline(model, "cpu")
    count = steps or default_steps(pipe)
    shoot(pipe, Request(unseen_captions(1, seed=CAPTIONS)[0], steps=2), DENSE)
    found: list[list[tuple[float, float, float, float]]] = [[] for _ in recipes]
    for text in unseen_captions(videos, seed=CAPTIONS):
        request = Request(text, steps=count)
        before = shoot(pipe, request, DENSE)
        reference = before.frames
        for first in range(0, len(recipes), TOGETHER):
            some = slice(first, first + TOGETHER)
            shots = [shoot(pipe, request, recipe) for recipe, _ in recipes[some]]
            after = shoot(pipe, request, DENSE)
            dense = (before.seconds + after.seconds) / 2
            for (recipe, _), fast, rows in zip(recipes[some], shots, found[some], strict=True):
                quality = psnr(fast.frames, reference).mean
                rows.append((quality, fast.seconds, dense / fast.seconds, fast.run_density))
                print(f"{recipe.name}: {quality:.2f} dB, {dense / fast.seconds:.3f}x", flush=True)
            before = after
    rows = []
    for (recipe, tuned), values in zip(recipes, found, strict=True):
        quality, seconds, ratios, density = (list(column) for column in zip(*values, strict=True))
        figures = (fmean(quality), min(quality), median(seconds), median(ratios), fmean(density))
        rows.append(Row(recipe.name, tuned, *figures))
    return rows


def judge(rows: list[Row]) -> list[Row]:
    """The rows, the hand-written ones marked that a tuned one beats."""
    tuned = [row for row in rows if row.tuned]

    def beaten(row: Row) -> bool:
        return not row.tuned and any(t.psnr >= row.psnr and t.speedup > row.speedup for t in tuned)

    return [Row(**{**asdict(row), "beaten": beaten(row)}) for row in rows]


def table(rows: list[Row]) -> str:
    """Markdown, best PSNR first."""
    lines = [
        "| recipe | PSNR, dB | worst video | run density | seconds | speed-up | beaten |",
        "| --- " * 7 + "|",
    ]
    for row in sorted(rows, key=lambda row: -row.psnr):
        name = f"**{row.name}** (tuned)" if row.tuned else f"`{row.name}`"
        lines.append(
            f"| {name} | {row.psnr:.2f} | {row.worst:.2f} | {row.run_density:.3f} | {row.seconds:.2f} "
            f"| {row.speedup:.2f} | {'' if row.tuned else 'yes' if row.beaten else 'no'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument(
        "tuned",
        type=Path,
        nargs="+",
        help="recipe.toml files of a tune, or tune.json for all that nobody beat",
    )
    parser.add_argument("--model", default="shapes-s")
    parser.add_argument("--videos", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the model takes by default")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tuning.json"))
    given = parser.parse_args()
    tuned = [(recipe, True) for path in given.tuned for recipe in read_tuned(path)]
    recipes = [*tuned, *((recipe, False) for recipe in hand_written())]
    rows = judge(measure(given.model, recipes, given.videos, given.steps))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": describe_machine(), "model": given.model, "videos": given.videos}
    given.output.write_text(json.dumps(result | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
