"""What a tune leaves: its table, page, plots and recipe."""

import json
from dataclasses import replace
from pathlib import Path

from videosieve.files import write_text
from videosieve.report.page import Colophon, machine_fact, number_words
from videosieve.report.pictures.tuning import Mark, plot_tuning
from videosieve.report.tuning import Tuned, write_tuning_page
from videosieve.tuning.order import PAGE, PLOTS, RECIPE, TABLE
from videosieve.tuning.outcome import Outcome
from videosieve.tuning.search import Point


def write_outcome(
    outcome: Outcome, folder: Path, *, best_effort: bool = False, command: str = ""
) -> list[Path]:
    """Write tune.json, tune.html, the plots, and recipe.toml where the target was reached.

    Args:
        outcome: What was found.
        folder: Where to.
        best_effort: Write the recipe although the target was missed; its provenance says so.
        command: That tuned, for the foot of the page.

    Returns:
        The paths written. A recipe of an earlier run that the target no longer allows is taken away.

    Raises:
        OutputError: A file cannot be written.
    """
    write_text(folder / TABLE, json.dumps(outcome.as_json(), indent=1) + "\n")
    written = [folder / TABLE, *_write_page(outcome, folder, command)]
    recipe = folder / RECIPE
    if outcome.reached or best_effort:
        write_text(recipe, replace(outcome.recipe, provenance=outcome.provenance()).to_toml())
        written.append(recipe)
    else:
        recipe.unlink(missing_ok=True)
    return written


def _write_page(outcome: Outcome, folder: Path, command: str) -> list[Path]:
    """Draw tune.html and the plots, and say where."""
    goal, settings = outcome.order.goal, outcome.settings
    front = {point.candidate for point in outcome.front}
    marks = [
        Mark(p.speedup, goal.quality_of(p), p.candidate.words(), p.candidate in front, p is outcome.best)
        for p in outcome.points
        if p.complete
    ]
    target = (None, goal.target) if goal.name != "speedup" else (goal.target, None)
    check = (outcome.check.speedup, goal.quality_of(outcome.check))
    title = f"{goal.words()} on {settings['model']}"
    psnr = goal.quality == "psnr"
    unit = "PSNR (dB), mean over prompts" if psnr else "recall, mean over sparse calls"
    plots = [folder / name for name in PLOTS]
    plot_tuning(marks, check, target, (title, unit), plots)
    count = f"{len(outcome.points)} recipe{'s' * (len(outcome.points) != 1)}"
    facts = [
        ("model", settings["model"], f"{settings['pipeline']}, {settings['dtype']}"),
        ("verdict", "reached" if outcome.reached else "not reached", goal.words()),
        ("measured", count, f"{outcome.steps} steps, {outcome.seconds / 60:.1f} minutes"),
        machine_fact(settings["machine"]),
    ]  # fmt: skip
    seeds = number_words(sorted({request["seed"] for request in settings["search"]}))
    tuned = Tuned(
        marks, check, target, ("PSNR", "dB") if psnr else ("recall", ""), flat_outcome(outcome),
        f"{goal.words()}: {outcome.verdict}.", outcome.warnings, outcome.recipe.to_toml(),
    )  # fmt: skip
    colophon = Colophon(settings["model"], seeds, command, settings["versions"])
    write_tuning_page(title, tuned, facts, colophon, folder / PAGE)
    return [*plots, folder / PAGE]


COLUMNS = (
    "recipe", "PSNR, dB", "worst prompt, dB", "recall", "run density", "time, s", "dense, s", "speed-up, ×", "videos",
    "role",
)  # fmt: skip


def flat_outcome(outcome: Outcome) -> tuple[list[str], list[list[str | float | None]]]:
    """Every measurement as a table: names with units, and a row per recipe; finalists once more, from the check."""
    front = {point.candidate for point in outcome.front}
    rows = [
        _flat(p, "chosen" if p is outcome.best else "front" if p.candidate in front else "")
        for p in outcome.points
    ]
    return list(COLUMNS), rows + [_flat(point, "check") for point in outcome.checks]


def _flat(point: Point, role: str) -> list[str | float | None]:
    seconds = [sum(times) / len(times) for times in (point.seconds, point.dense_seconds)]
    figures_of = [point.psnr, point.worst, point.recall, point.run_density, *seconds, point.speedup]
    return [point.candidate.words(), *figures_of, len(point.psnrs), role]
