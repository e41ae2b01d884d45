"""What a tune tells on the way, what it found, and the files it leaves."""

import datetime
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videosieve.files import write_text
from videosieve.recipe import Recipe
from videosieve.report.pictures.tuning import Mark, plot_tuning
from videosieve.tuning.order import PLOTS, RECIPE, TABLE, Order
from videosieve.tuning.search import Point, Screen, pareto_front

SCHEMA = 1


@dataclass(frozen=True)
class Moment:
    """Where a tune is.

    Attributes:
        stage: "looking", "screening", "searching", "timing" or "checking".
        detail: What is at work.
        done: Finished parts of it.
        total: All parts; 0 where that is unknown.
        seconds: Spent so far, earlier runs included.
        budget: Seconds to spend.
        points: Everything measured so far.
        fresh: The measurement that has just ended; None while one is under way.
    """

    stage: str
    detail: str
    done: int
    total: int
    seconds: float
    budget: float
    points: tuple[Point, ...]
    fresh: Point | None = None


@dataclass(frozen=True)
class Outcome:
    """What a tune found.

    Attributes:
        order: What was asked.
        settings: What the figures depend on: model, machine, versions, prompts.
        steps: Denoising steps.
        screen: The screening.
        points: Every measurement of the search, in order.
        best: The best of them, as the check has it.
        recipes: The recipe of every measurement.
        check: The best on the videos that the search did not see, each between dense calls; with the recall of one.
        checks: The same of every finalist that was asked.
        seconds: Spent on everything.
        warnings: What was not as the best recipe means it, as far as this sitting has seen.
    """

    order: Order
    settings: dict[str, Any]
    steps: int
    screen: Screen
    points: tuple[Point, ...]
    best: Point
    recipes: tuple[Recipe, ...]
    check: Point
    checks: tuple[Point, ...]
    seconds: float
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Target, verdict and the best recipe, with how it did in the check."""
        return (
            f"<Outcome: {self.order.goal.words()}, {self.verdict}; {len(self.points)} recipes measured, the best is "
            f"{self.recipe!r}, in the check {figures(self.check)}>"
        )

    @property
    def reached(self) -> bool:
        """Whether the best meets the target and is faster than dense, in the search and in the check."""
        return all(self.order.goal.met(point) and point.speedup > 1 for point in (self.best, self.check))

    @property
    def sure(self) -> bool:
        """Whether it was reached, and the mean over all videos meets the target with 95 % confidence."""
        return self.reached and self.order.goal.sure(self.best, self.check)

    @property
    def verdict(self) -> str:
        """What became of the target, in words."""
        if not self.reached:
            met = self.order.goal.met(self.best) and self.best.speedup > 1
            return "NOT reached: " + ("refuted by the check" if met else "nothing found meets it")
        if self.order.goal.name == "speedup":
            return "reached, in the search and in the check"
        how = "" if self.sure else ", but NOT"
        return f"reached, in the search and in the check{how} with 95 % confidence"

    @property
    def recipe(self) -> Recipe:
        """The recipe of the best."""
        return self.recipes[self.points.index(self.best)]

    @property
    def front(self) -> list[Point]:
        """The measurements that nobody beats."""
        return pareto_front(self.points, self.order.goal.quality_of)

    def provenance(self) -> dict[str, str]:
        """What the recipe file says of its origin."""
        goal, machine, versions = self.order.goal, self.settings["machine"], self.settings["versions"]
        prompts = {name: _videos(self.settings[name]) for name in ("search", "check")}
        return {
            "source": f"videosieve tune: {goal.words()}, {self.verdict}",
            "family": self.settings["family"],
            "model": f"{self.settings['model']} ({self.settings['pipeline']}, weights {self.settings['weights']})",
            "steps": f"{self.steps}; a plan or window holds for this number of steps",
            "search": f"{figures(self.best)} on {prompts['search']}",
            "check": f"{figures(self.check)} on {prompts['check']}, which the search did not see",
            "machine": ", ".join(f"{key} {value}" for key, value in machine.items()),
            "versions": ", ".join(f"{key} {value}" for key, value in versions.items()),
            "measurements": f"{len(self.points)} recipes in {self.seconds / 60:.1f} minutes",
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }

    def as_json(self) -> dict[str, Any]:
        """Every number, as plain data."""
        front = {point.candidate for point in self.front}
        return {
            "schema": SCHEMA,
            "settings": self.settings,
            "reached": self.reached,
            "seconds": self.seconds,
            "points": [
                {
                    "name": point.candidate.words(),
                    "front": point.candidate in front,
                    **_plain(point),
                    "recipe": self.recipes[index].to_toml(),
                }
                for index, point in enumerate(self.points)
            ],
            "best": self.points.index(self.best),
            "check": _plain(self.check),
            "sure": self.sure,
            "finalists": [{"name": p.candidate.words(), **_plain(p)} for p in self.checks],
            "screen": [
                {
                    "family": choice.family,
                    "knob": choice.knob,
                    "relative_l1": float(choice.error.mean()),
                    "recall": float(choice.recall.mean()),
                    "cost": choice.cost,
                    "density": choice.density,
                }
                for choice in self.screen.choices
            ],
        }


def write_outcome(outcome: Outcome, folder: Path, *, best_effort: bool = False) -> list[Path]:
    """Write tune.json, the plots, and recipe.toml where the target was reached.

    Args:
        outcome: What was found.
        folder: Where to.
        best_effort: Write the recipe although the target was missed; its provenance says so.

    Returns:
        The paths written. A recipe of an earlier run that the target no longer allows is taken away.

    Raises:
        OutputError: A file cannot be written.
    """
    write_text(folder / TABLE, json.dumps(outcome.as_json(), indent=1) + "\n")
    goal = outcome.order.goal
    front = {point.candidate for point in outcome.front}
    marks = [
        Mark(p.speedup, goal.quality_of(p), p.candidate.words(), p.candidate in front, p is outcome.best)
        for p in outcome.points
        if p.complete
    ]
    unit = "PSNR (dB), mean over prompts" if goal.quality == "psnr" else "recall, mean over sparse calls"
    target = (None, goal.target) if goal.name != "speedup" else (goal.target, None)
    check = (outcome.check.speedup, goal.quality_of(outcome.check))
    plots = [folder / name for name in PLOTS]
    plot_tuning(marks, check, target, (f"{goal.words()} on {outcome.settings['model']}", unit), plots)
    written = [folder / TABLE, *plots]
    recipe = folder / RECIPE
    if outcome.reached or best_effort:
        write_text(recipe, replace(outcome.recipe, provenance=outcome.provenance()).to_toml())
        written.append(recipe)
    else:
        recipe.unlink(missing_ok=True)
    return written


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


def _plain(point: Point) -> dict[str, Any]:
    derived = {"psnr": point.psnr, "worst_prompt": point.worst, "recall": point.recall}
    return {**point.as_json(), **derived, "speedup": point.speedup}


def figures(point: Point) -> str:
    """A measurement in one line: quality with its worst prompt, seconds beside the speed-up, density beside recall."""
    recall = "" if point.recall is None else f", recall {point.recall:.3f}"
    dense = sum(point.dense_seconds) / len(point.dense_seconds)
    own = sum(point.seconds) / len(point.seconds)
    return (
        f"PSNR {point.psnr:.2f} dB (worst prompt {point.worst:.2f}), {dense:.2f} s dense and {own:.2f} s, "
        f"speed-up {point.speedup:.3f}, run density {point.run_density:.3f}{recall}"
    )


def _videos(requests: list[dict[str, Any]]) -> str:
    texts = "; ".join(f"{request['prompt']!r} seed {request['seed']}" for request in requests[:8])
    more = f" and {len(requests) - 8} more" if len(requests) > 8 else ""
    return f"{len(requests)} videos: {texts}{more}"
