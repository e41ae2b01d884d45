"""Searches the recipe for a model, machine and target: cheap screening, few full generations, a check on other videos.

What is finished is in the journal, so the same call goes on after any interruption.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from videosieve.errors import ModelError
from videosieve.generation.tune_capture import capture, only_target, steps_to_look_at
from videosieve.generation.tune_order import (
    JOURNAL,
    Order,
    check_folder,
    check_start,
    make_order,
    settings_of,
)
from videosieve.generation.tune_outcome import Moment, Outcome, write_outcome
from videosieve.generation.tune_screen import screen as screen_capture
from videosieve.generation.tune_tables import fit_tables
from videosieve.generation.tune_trials import Bench, shoot
from videosieve.metrics import psnr
from videosieve.recipe import Recipe
from videosieve.tuning import Candidate, Family, Goal, Journal, Point, Screen, families, propose
from videosieve.tuning.candidates import KNOBS, SHORT
from videosieve.tuning.points import prompt_offsets

FINALISTS = 3
PAIRS = 2  # of dense and sparse calls by which a finalist is timed again
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
    **options: Any,
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
        best, timing = self._decide(bench)
        check = self._check(best)
        reached = self.order.goal.met(best) and best.speedup > 1
        recipes = tuple(p.candidate.recipe(self.known, self.steps, self.min_tokens) for p in self.points)
        found = (tuple(self.points), best, reached, recipes, timing, check)
        return Outcome(self.order, settings, self.steps, screen, *found, self.journal.elapsed)

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
        self._begin("looking")
        seen = capture(
            self.pipe, self.order.search[0], lambda step, steps: self._watch("dense video", step, steps)
        )
        self._stage = "screening"
        self._watch("tables per head", 0, 0)
        listed = families(self.order.methods, seen.tokens)
        methods = list(KNOBS) if self.order.methods is None else list(self.order.methods)
        listed += fit_tables(seen, methods, 32 if seen.tokens < SHORT else None)
        tables = screen_capture(
            seen, listed, lambda done, total: self._watch("methods and layers", done, total)
        )
        self.known = {family.name: family for family in listed}
        self.min_tokens = MIN_TOKENS if seen.tokens >= MIN_TOKENS else 0
        kept = [family.as_json() for family in listed if family.name in tables.by_family]
        self._note("screen", screen=tables.as_json(), families=kept, min_tokens=self.min_tokens)
        return tables

    def _search(self, screen: Screen, bench: Bench) -> None:
        """Measure until the budget, the patience or the ideas end."""
        goal, waiting = self.order.goal, self._given()
        dense = screen.seconds
        warm = False
        while True:
            reserve = dense * (FINALISTS * PAIRS * 1.8 + 2 * len(self.order.check) + 1)
            cost = dense * (1 + 0.8 * len(self.order.search))
            if self.journal.elapsed + reserve + cost > 60 * self.order.minutes and self.points:
                return
            if not waiting and self._stale():
                return
            self._begin("searching")
            candidate = waiting.pop(0) if waiting else propose(screen, self.points, goal, self.order.seed)
            if candidate is None:
                return
            if not warm:
                self._rehearse()
                warm = True
            recipe = candidate.recipe(self.known, self.steps, self.min_tokens)
            point = bench.measure(candidate, recipe, prompt_offsets(self.points, goal.quality))
            dense = median(bench.dense_seconds)
            self.points.append(point)
            self._note("point", point=point.as_json())
            self.observe(replace(self._moment(candidate.words(), 1, 1), fresh=point))

    def _given(self) -> list[Candidate]:
        """The recipes to start with that are not measured yet."""
        tried = {point.candidate for point in self.points}
        given = [Candidate(given=r.to_toml(), label=r.name) for r in self.order.start]
        return [candidate for candidate in given if candidate not in tried]

    def _stale(self) -> bool:
        """Whether the last PATIENCE measurements brought nothing better."""
        best = self.order.goal.best(self.points)
        return best is not None and len(self.points) - self.points.index(best) > PATIENCE

    def _rehearse(self) -> None:
        """Two untimed steps: a resumed search starts with cold caches."""
        shoot(self.pipe, replace(self.order.search[0], steps=2), Recipe.of("dense"))

    def _decide(self, bench: Bench) -> tuple[Point, dict[int, list[tuple[float, float]]]]:
        """Time the best few again, next to dense, and take the fastest; a chance reading should not win."""
        goal = self.order.goal
        ranked = sorted((p for p in self.points if p.complete), key=goal.rank, reverse=True)
        finalists = [point for point in ranked if goal.met(point)][:FINALISTS]
        if goal.name == "speedup" or not finalists:
            return ranked[0], {}
        earlier = {
            Candidate.from_json(entry["candidate"]): [tuple(pair) for pair in entry["pairs"]]
            for entry in self.journal.of_kind("timing")
        }
        timing: dict[int, list[tuple[float, float]]] = {}
        for point in finalists:
            if point.candidate not in earlier:
                self._begin("timing")
                recipe = point.candidate.recipe(self.known, self.steps, self.min_tokens)
                pairs = bench.pairs(recipe, PAIRS)
                self._note("timing", candidate=point.candidate.as_json(), pairs=pairs)
                earlier[point.candidate] = pairs
            timing[self.points.index(point)] = earlier[point.candidate]
        fastest = max(timing, key=lambda index: self.points[index].speedup_with(timing[index]))
        return self.points[fastest], timing

    def _check(self, best: Point) -> Point:
        """The best on videos that the search did not see, each next to a dense call; and the recall of the first."""
        for entry in self.journal.of_kind("check"):
            if Candidate.from_json(entry["point"]["candidate"]) == best.candidate:
                return Point.from_json(entry["point"])
        self._begin("checking")
        recipe = best.candidate.recipe(self.known, self.steps, self.min_tokens)
        rows = []
        for index, request in enumerate(self.order.check):
            self._watch("other videos", index, len(self.order.check))
            dense = shoot(self.pipe, request, Recipe.of("dense"))
            fast = shoot(self.pipe, request, recipe)
            quality = psnr(fast.frames, dense.frames).mean
            rows.append((quality, fast.seconds, dense.seconds, fast.run_density))
        recall = shoot(self.pipe, self.order.check[0], recipe, 16).recall
        psnrs, seconds, around, density = (tuple(column) for column in zip(*rows, strict=True))
        recalls = () if recall is None else (recall,)
        point = Point(
            best.candidate, psnrs, recalls, seconds, around, sum(density) / len(rows), len(self.order.check)
        )
        self._note("check", point=point.as_json())
        return point

    def _begin(self, stage: str) -> None:
        self._stage, self._since = stage, time.perf_counter()

    def _note(self, kind: str, **values: Any) -> None:
        self.journal.add(kind, took=time.perf_counter() - self._since, **values)
        self._since = time.perf_counter()

    def _watch(self, detail: str, done: int, total: int) -> None:
        self.observe(self._moment(detail, done, total))

    def _moment(self, detail: str, done: int, total: int) -> Moment:
        spent = self.journal.elapsed + (time.perf_counter() - self._since)
        return Moment(self._stage, detail, done, total, spent, 60 * self.order.minutes, tuple(self.points))
