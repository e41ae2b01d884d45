"""Searches the recipe for a model, machine and target: cheap screening, few full generations, a check on other videos.

What is finished is in the journal, so the same call goes on after any interruption.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from videosieve.errors import ModelError
from videosieve.recipe import Recipe
from videosieve.tuning.capture import only_target, steps_to_look_at
from videosieve.tuning.files import write_outcome
from videosieve.tuning.finalists import FINALISTS, Finals, turn_seconds
from videosieve.tuning.looking import Looking
from videosieve.tuning.order import (
    JOURNAL,
    Order,
    check_folder,
    check_start,
    make_order,
    settings_of,
)
from videosieve.tuning.outcome import Moment, Outcome
from videosieve.tuning.search import Candidate, Family, Goal, Journal, Point, Screen, propose
from videosieve.tuning.search.points import margin_for, prompt_offsets
from videosieve.tuning.search.screen import saved_share
from videosieve.tuning.search.written import written_candidate
from videosieve.tuning.trials import Bench, shoot

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from videosieve.tuning.options import SearchOptions

PATIENCE = 14  # measurements without a better one before the search ends early
MIN_TOKENS = 512


def tune(
    pipe: Any,
    prompts: Sequence[str],
    *,
    psnr: float | None = None,
    recall: float | None = None,
    speedup: float | None = None,
    folder: str | Path = "tuned",
    **options: "Unpack[SearchOptions]",
) -> Outcome:
    """Search the fastest recipe of a quality, or the best of a speed, and write it to `folder`.

    Args:
        pipe: A diffusers video pipeline with one transformer, not sparsified.
        prompts: Searched with.
        psnr: Target: mean PSNR against dense, dB. Exactly one of the three targets is given.
        recall: Target: mean recall of the sparse calls, in (0, 1].
        speedup: Target: dense seconds ÷ seconds, above 1; PSNR is then made as large as possible.
        folder: For recipe.toml, tune.json, two plots and the journal; a tune in it that was interrupted goes on.
        **options: `minutes` (15), `seeds`, `check_prompts`, `methods`, `start` (recipes to measure first), `base` (a
            Request with steps and size), `seed`, `model` (a name for the record), `best_effort` (write the recipe
            although the target was missed) and `observe` (called with a Moment on the way).

    Returns:
        What was found; `outcome.reached` says whether the target was, `outcome.recipe` is the best found.

    Raises:
        RecipeError: No target or several, an unknown method, a recipe for another model.
        PromptError: No prompt, an empty one, or the same video twice.
        ModelError: The pipeline refuses the request, or the budget ended before anything was measured.
        OutputError: The folder holds something else, or a tune with other settings.
    """
    observe, best_effort = options.pop("observe", None), options.pop("best_effort", False)
    options["start"] = tuple(map(Recipe.of, options.get("start", ())))
    options.setdefault("model", type(pipe).__name__)
    order = make_order(Goal(psnr, recall, speedup), prompts, **options)
    outcome = run_tune(pipe, order, Path(folder), observe)
    write_outcome(outcome, Path(folder), best_effort=best_effort)
    return outcome


def run_tune(
    pipe: Any, order: Order, folder: Path, observe: Callable[[Moment], None] | None = None
) -> Outcome:
    """Tune, or go on with a tune that was interrupted.

    Args:
        pipe: A diffusers video pipeline with one transformer, not sparsified.
        order: What to do.
        folder: Where the journal is kept; made if missing.
        observe: Called at every step and after every measurement.

    Returns:
        The outcome; nothing but the journal is written.

    Raises:
        IntegrationError: Unsupported model, or two transformers.
        ModelError: The pipeline refuses the request, or the budget ended before anything was measured.
        OutputError: The folder holds something else, or a tune with other settings.
        RecipeError: A recipe to start with is for another model.
        KeyboardInterrupt: The user stopped it; the message counts what is kept.
    """
    check_folder(folder)
    settings = settings_of(pipe, order)
    steps_to_look_at(settings["steps"])
    check_start(order, only_target(pipe), settings["steps"])
    with Journal(folder / JOURNAL, settings) as journal:
        work = _Work(pipe, order, journal, observe or (lambda _moment: None), settings["steps"])
        try:
            return work.run(settings)
        except KeyboardInterrupt:
            kept = f"{len(work.points)} measurements are kept in {str(folder)!r}; the same command goes on"
            raise KeyboardInterrupt(kept) from None


def is_stale(points: list[Point], goal: Goal) -> bool:
    """Whether the last PATIENCE measurements brought nothing better; given recipes, measured first, do not count."""
    best = goal.best(points)
    if best is None:
        return False
    given = sum(bool(point.candidate.given) for point in points)
    return len(points) - max(points.index(best) + 1, given) >= PATIENCE


@dataclass
class _Work:
    pipe: Any
    order: Order
    journal: Journal
    observe: Callable[[Moment], None]
    steps: int
    points: list[Point] = field(default_factory=list)
    known: dict[str, Family] = field(default_factory=dict)
    min_tokens: int = MIN_TOKENS
    _since: float = 0.0
    _stage: str = ""

    def run(self, settings: dict[str, Any]) -> Outcome:
        self.points = [Point.from_json(entry["point"]) for entry in self.journal.of_kind("point")]
        screen = self._screen()
        bench = Bench(self.pipe, list(self.order.search), self.order.goal, self.steps, self._watch)
        self._search(screen, bench)
        if not any(point.complete for point in self.points):
            raise ModelError(self._nothing())
        best, check, checks = self._decide()
        recipes = tuple(map(self._recipe_of, (point.candidate for point in self.points)))
        found = (tuple(self.points), best, recipes, check, checks)
        warnings = bench.warnings.get(best.candidate, ())
        return Outcome(self.order, settings, self.steps, screen, *found, self.journal.elapsed, warnings)

    def _nothing(self) -> str:
        """Why no recipe was measured on all prompts."""
        if not self.points:
            return (
                "nothing that was screened promises to be faster than dense on this model and machine; "
                "a longer or larger video leaves more to gain"
            )
        return (
            f"no recipe came far enough to be measured on all prompts within {self.order.minutes:g} minutes; give "
            f"more, or a lower target; the {len(self.points)} measurements are kept"
        )

    def _screen(self) -> Screen:
        """From the journal, or made now."""
        for entry in self.journal.of_kind("screen"):
            self.known = {f["name"]: Family.from_json(f) for f in entry["families"]}
            self.min_tokens = entry["min_tokens"]
            return Screen.from_json(entry["screen"])
        told = (self._note, self._watch, self._begin, self._spent)
        tables, listed, tokens = Looking(self.pipe, self.order, self.journal, self.steps, *told).run()
        self.known = {family.name: family for family in listed}
        self.min_tokens = MIN_TOKENS if tokens >= MIN_TOKENS else 0
        kept = [family.as_json() for family in listed if family.name in tables.by_family]
        self._note("screen", screen=tables.as_json(), families=kept, min_tokens=self.min_tokens)
        return tables

    def _search(self, screen: Screen, bench: Bench) -> None:
        """Measure until the budget, the patience or the ideas end."""
        goal, waiting = self.order.goal, self._given(screen)
        warm = False
        while True:
            if self.points and not self._has_time(screen):
                return
            if not waiting and is_stale(self.points, goal):
                return
            self._begin("searching")
            candidate = waiting.pop(0) if waiting else self._proposal(screen)
            if candidate is None:
                return
            if not warm:
                shoot(
                    self.pipe, replace(self.order.search[0], steps=2), Recipe.of("dense")
                )  # caches are cold
                warm = True
            best = goal.best(self.points)
            fastest = best.speedup if best is not None and goal.met(best) else 0.0
            offsets = prompt_offsets(self.points, goal.quality)
            point = bench.measure(candidate, self._recipe_of(candidate), offsets, fastest)
            self.points.append(point)
            self._note("point", point=point.as_json())
            self.observe(replace(self._moment(candidate.words(), 1, 1), fresh=point))

    def _has_time(self, screen: Screen) -> bool:
        """Whether another candidate fits before the finalists' turn and one more that may be needed."""
        dense, others = self._dense_seconds() or screen.seconds, len(self.order.check)
        reserve = turn_seconds(dense, others, FINALISTS) + turn_seconds(dense, others, 1)
        cost = dense * (1 + 0.8 * len(self.order.search))
        return self.journal.elapsed + reserve + cost <= 60 * self.order.minutes

    def _proposal(self, screen: Screen) -> Candidate | None:
        """What to try next, aimed above the target by what the check will ask for."""
        goal = self.order.goal
        videos = len(self.order.search) + len(self.order.check)
        aim = goal.raised(margin_for(self.points, goal.quality, videos))
        return propose(screen, self.points, aim, self.order.seed)

    def _given(self, screen: Screen) -> list[Candidate]:
        """The recipes to start with that are not measured yet, the most promising speed first."""
        tried = {point.candidate for point in self.points}
        given = [written_candidate(r, screen.steps, screen.layers) for r in self.order.start]
        given = [c if screen.knows(c) else Candidate(given=c.given, label=c.label) for c in given]
        left = [candidate for candidate in given if candidate not in tried]
        return sorted(left, key=lambda c: -math.inf if c.opaque else saved_share(screen, c), reverse=True)

    def _decide(self) -> tuple[Point, Point, tuple[Point, ...]]:
        """The best on other videos too, its check, and the checks of all finalists."""
        self._begin("checking")
        goal, videos = self.order.goal, self.order.check
        told = (self._recipe_of, self.journal, self._note, self._watch, self._affordable)
        finals = Finals(self.pipe, goal, videos, *told)
        best, check = finals.decide(self.points)
        return best, check, tuple(finals.checks.values())

    def _recipe_of(self, candidate: Candidate) -> Recipe:
        return candidate.recipe(self.known, self.steps, self.min_tokens)

    def _affordable(self, finalists: int) -> bool:
        """Whether the budget has room for a turn of so many finalists."""
        cost = turn_seconds(self._dense_seconds(), len(self.order.check), finalists)
        return self.journal.elapsed + cost <= 60 * self.order.minutes

    def _dense_seconds(self) -> float:
        """Of a dense video, from what was measured; before that 0, which refuses nothing."""
        return median([seconds for point in self.points for seconds in point.dense_seconds] or [0.0])

    def _begin(self, stage: str) -> None:
        self._stage, self._since = stage, time.perf_counter()

    def _note(self, kind: str, **values: Any) -> None:
        self.journal.add(kind, took=time.perf_counter() - self._since, **values)
        self._since = time.perf_counter()

    def _spent(self) -> float:
        return self.journal.elapsed + (time.perf_counter() - self._since)

    def _watch(self, detail: str, done: int, total: int) -> None:
        self.observe(self._moment(detail, done, total))

    def _moment(self, detail: str, done: int, total: int) -> Moment:
        return Moment(
            self._stage, detail, done, total, self._spent(), 60 * self.order.minutes, tuple(self.points)
        )
