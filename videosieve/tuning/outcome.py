"""What a tune tells on the way, what it found."""

import datetime
from dataclasses import dataclass
from typing import Any

from videosieve.recipe import Recipe
from videosieve.tuning.order import Order
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
