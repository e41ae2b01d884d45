"""The end of a tune: the best few on videos that the search never saw, by turns with dense; the fastest that holds.

A search picks what looked best, so its figures flatter. Here every finalist is measured afresh, all of them between the
same two dense calls, the order turned round at every video. One that the new videos refute is left, and the next that
the search thought better of is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from videosieve.generation.request import Request
from videosieve.metrics import psnr
from videosieve.recipe import Recipe
from videosieve.tuning.search import Candidate, Goal, Journal, Point
from videosieve.tuning.search.points import margin_for
from videosieve.tuning.trials import RECALL_ROWS, Shot, shoot

FINALISTS = 3
TURN, RECALL = "turn", "recall"
"""Kinds of journal entries: a finalist on one video, and the recall of the winner."""


@dataclass
class Finals:
    """Who is asked, and what was seen.

    Attributes:
        pipe: A diffusers video pipeline.
        goal: What is wanted.
        videos: Those that the search never saw.
        recipe_of: A candidate's recipe.
        journal: What is finished is noted here.
        note: Writes an entry with its time.
        watch: Told what is made.
        affordable: Whether a number of finalists can still be asked within the budget.
        checks: What was measured of every finalist that was asked.
    """

    pipe: Any
    goal: Goal
    videos: tuple[Request, ...]
    recipe_of: Callable[[Candidate], Recipe]
    journal: Journal
    note: Callable[..., None]
    watch: Callable[[str, int, int], None]
    affordable: Callable[[int], bool]
    checks: dict[Candidate, Point] = field(default_factory=dict)

    def decide(self, points: Sequence[Point]) -> tuple[Point, Point]:
        """Ask finalists until one holds.

        Args:
            points: What the search measured, at least one of them complete.

        Returns:
            The best point, and the same candidate on the other videos.
        """
        asked: list[Point] = []
        held: list[Point] = []
        while turn := next_finalists(points, asked, held, self.goal, len(self.videos)):
            if asked and not self.affordable(len(turn)):
                break
            self._ask([point.candidate for point in turn])
            asked += turn
            held = [point for point in asked if self._holds(point)]
        best = max(asked, key=self._rank)
        return best, self._with_recall(best.candidate)

    def _holds(self, point: Point) -> bool:
        check = self.checks[point.candidate]
        return self.goal.met(check) and self.goal.sure(point, check)

    def _rank(self, point: Point) -> tuple[bool, bool, float]:
        """The surest first, then the free quantity; of those that were refuted the nearest miss."""
        check = self.checks[point.candidate]
        met = self.goal.met(check) and self.goal.met(point)
        quality = self.goal.quality_of(check)
        if self.goal.name == "speedup":
            return (met, met, quality if met else check.by_turns)
        return (met and self._holds(point), met, check.by_turns if met else quality)

    def _ask(self, turn: list[Candidate]) -> None:
        """Every finalist on every video, between two dense calls a video."""
        rows: dict[Candidate, list[dict[str, Any]]] = {candidate: [] for candidate in turn}
        for index, request in enumerate(self.videos):
            done = self._noted(index)
            self.watch("other videos", index, len(self.videos))
            if new := [candidate for candidate in turn if candidate not in done]:
                fresh = self._one_video(request, new[::-1] if index % 2 else new)
                noted = [{"candidate": candidate.as_json(), **row} for candidate, row in fresh.items()]
                self.note(TURN, video=index, rows=noted)
                done |= fresh
            for candidate in turn:
                rows[candidate].append(done[candidate])
        for candidate, found in rows.items():
            self.checks[candidate] = _point(candidate, found)

    def _noted(self, video: int) -> dict[Candidate, dict[str, Any]]:
        """What the journal has of a video."""
        entries = [entry for entry in self.journal.of_kind(TURN) if entry["video"] == video]
        return {Candidate.from_json(row["candidate"]): row for entry in entries for row in entry["rows"]}

    def _one_video(self, request: Request, turn: list[Candidate]) -> dict[Candidate, dict[str, Any]]:
        wants_recall = RECALL_ROWS if self.goal.quality == "recall" else 0
        dense = shoot(self.pipe, request, Recipe.of("dense"))
        shots = {c: shoot(self.pipe, request, self.recipe_of(c), wants_recall) for c in turn}
        around = (dense.seconds + shoot(self.pipe, request, Recipe.of("dense")).seconds) / 2
        rows = {c: {**_row(shot, dense), "dense": around} for c, shot in shots.items()}
        if wants_recall:
            return {
                c: {**row, "recall": 1.0 if row["recall"] is None else row["recall"]}
                for c, row in rows.items()
            }
        return rows

    def _with_recall(self, candidate: Candidate) -> Point:
        """The check of the winner, with the recall of its first video where it was not measured on all."""
        check = self.checks[candidate]
        if check.recalls:
            return check
        known = [e for e in self.journal.of_kind(RECALL) if Candidate.from_json(e["candidate"]) == candidate]
        if not known:
            found = shoot(self.pipe, self.videos[0], self.recipe_of(candidate), RECALL_ROWS).recall
            self.note(RECALL, candidate=candidate.as_json(), recall=found)
            known = self.journal.of_kind(RECALL)[-1:]
        recall = known[0]["recall"]
        values = {**check.as_json(), "recalls": () if recall is None else (recall,)}
        return Point.from_json({**values, "candidate": candidate.as_json()})


def next_finalists(
    points: Sequence[Point], asked: Sequence[Point], held: Sequence[Point], goal: Goal, others: int
) -> list[Point]:
    """Who is asked next.

    Args:
        points: What the search measured.
        asked: Who was asked already.
        held: Who of them held.
        goal: What is wanted.
        others: Videos of the check.

    Returns:
        The fastest that meet the target with the margin that the check will ask for (where there are none, those that
        meet it at all), in the first turn with the fastest hand-written one among them; later none that was no better
        than one that failed, and none that is slower than one that held. The nearest miss, if nobody meets the target
        and nobody was asked yet.
    """
    whole = [point for point in points if point.complete]
    left = [point for point in whole if point not in asked and goal.met(point)]
    if goal.name == "speedup":
        left = [] if held else left
        return sorted(left, key=goal.rank)[: -FINALISTS - 1 : -1] or (
            [] if asked else [max(whole, key=goal.rank)]
        )
    floor = max((goal.quality_of(point) for point in asked if point not in held), default=float("-inf"))
    pace = max((point.speedup for point in held), default=0.0)
    left = [point for point in left if goal.quality_of(point) > floor and point.speedup > pace]
    videos = others + max((point.prompts for point in points), default=0)
    aim = goal.raised(margin_for(points, goal.quality, videos))
    ranked = sorted(left, key=lambda point: point.speedup, reverse=True)
    ranked = [point for point in ranked if aim.met(point)] or ranked
    chosen = ranked[:FINALISTS]
    written = [point for point in ranked[FINALISTS:] if point.candidate.given]
    if written and not asked and not any(point.candidate.given for point in chosen):
        chosen[-1] = written[0]
    return chosen or ([] if asked else [max(whole, key=goal.rank)])


def turn_seconds(dense: float, videos: int, finalists: int) -> float:
    """What a turn of finalists takes, from the seconds of a dense video."""
    return dense * videos * (2 + 0.8 * finalists)


def _row(shot: Shot, dense: Shot) -> dict[str, Any]:
    quality = psnr(shot.frames, dense.frames).mean
    return {"psnr": quality, "seconds": shot.seconds, "density": shot.run_density, "recall": shot.recall}


def _point(candidate: Candidate, rows: list[dict[str, Any]]) -> Point:
    psnrs, seconds, dense = (tuple(row[key] for row in rows) for key in ("psnr", "seconds", "dense"))
    recalls = tuple(row["recall"] for row in rows if row["recall"] is not None)
    density = sum(row["density"] for row in rows) / len(rows)
    return Point(candidate, psnrs, recalls, seconds, dense, density, len(rows))
