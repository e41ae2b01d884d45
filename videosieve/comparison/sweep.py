"""One method at several densities: fidelity and time against density."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from videosieve.errors import RecipeError
from videosieve.files import write_text
from videosieve.recipe import Recipe
from videosieve.report import ClipResult, Results
from videosieve.report.comparison.cautions import cautions
from videosieve.report.page import Colophon, machine_fact, number_words
from videosieve.report.pictures.sweep import plot_fidelity
from videosieve.report.sweep import write_sweep_page

SCHEMA = 1
PAGE = "sweep.html"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One density; means over prompts and seeds.

    Attributes:
        density: The density that was asked for, in (0, 1].
        run_density: What was computed over the whole run, dense warm-up included.
        sparse_density: What was computed in the sparse calls; None without any.
        recall: True softmax mass inside the kept blocks; None if not measured.
        psnr: Against the dense video, dB.
        ssim: Against the dense video.
        seconds: Wall time of the pipeline call.
        speedup: Dense seconds ÷ seconds.
    """

    density: float
    run_density: float
    sparse_density: float | None
    recall: float | None
    psnr: float
    ssim: float
    seconds: float
    speedup: float


def sweep_recipes(recipe: Recipe, densities: list[float]) -> dict[float, Recipe]:
    """The recipe at every density, named after it.

    Args:
        recipe: Any recipe whose method has a density.
        densities: Each in (0, 1].

    Returns:
        Recipes by density.

    Raises:
        RecipeError: The method has no density, or refuses one.
    """
    if not hasattr(recipe.method, "density"):
        raise RecipeError(
            f"method {recipe.method.name!r} has no density to sweep; take one that has, for example svg"
        )
    return {
        density: replace(Recipe.of(recipe, density=density), name=f"{recipe.name}-{density:g}")
        for density in densities
    }


def write_sweep(results: Results, recipes: dict[float, Recipe], folder: Path) -> list[Path]:
    """Write sweep.json, sweep.svg, sweep.png and sweep.html.

    Args:
        results: The finished comparison of these recipes.
        recipes: As `sweep_recipes` made them.
        folder: The results folder.

    Returns:
        The four paths.

    Raises:
        OutputError: A file cannot be written.
    """
    points = [_point(results, density, recipe.name) for density, recipe in recipes.items()]
    method = next(iter(recipes.values())).method.name
    table = {
        "schema": SCHEMA,
        "method": method,
        "model": results.model,
        "points": [asdict(point) for point in points],
    }
    path = folder / "sweep.json"
    write_text(path, json.dumps(table, indent=1) + "\n")
    plots = [folder / "sweep.svg", folder / "sweep.png"]
    plot_fidelity(
        [(point.run_density, point.psnr) for point in points], f"{method} on {results.model}", plots
    )
    _write_page(results, table, folder / PAGE)
    return [path, *plots, folder / PAGE]


def _write_page(results: Results, table: dict[str, Any], path: Path) -> None:
    settings, scenes = results.settings, results.scenes()
    facts = [
        ("model", results.model, f"{results.pipeline}, {settings['dtype']}"),
        ("video", f"{settings['frames']} frames", f"{settings['width']} × {settings['height']} px"),
        ("sampling", f"{settings['steps']} steps", f"{len(scenes)} video{'s' * (len(scenes) > 1)} a density"),
        machine_fact(results.machine),
    ]  # fmt: skip
    seeds = number_words(sorted({seed for _, seed in scenes}))
    colophon = Colophon(results.model, seeds, results.command, results.versions)
    said = [f"{sentence}." for sentence in cautions(results)]
    write_sweep_page(table["method"], table["points"], facts, said, colophon, path)


COLUMNS = (
    "density asked", "run density", "sparse density", "recall", "PSNR, dB", "SSIM", "time, s", "speed-up, ×",
)  # fmt: skip


def flat_sweep(results: Results, recipes: dict[float, Recipe]) -> tuple[list[str], list[list[float | None]]]:
    """The points as a table: names with units, and a row per density; arguments as of `write_sweep`."""
    points = [_point(results, density, recipe.name) for density, recipe in recipes.items()]
    return list(COLUMNS), [list(asdict(point).values()) for point in points]


def _point(results: Results, density: float, name: str) -> SweepPoint:
    clips = results.of_method(name)

    values: dict[str, Any] = {
        item.name: _mean(clips, item.name) for item in fields(SweepPoint) if item.name != "density"
    }
    return SweepPoint(density, **values)


def _mean(clips: list[ClipResult], key: str) -> float | None:
    values = [getattr(clip, key) for clip in clips]
    return None if None in values else fmean(values)
