"""What really ran, generation by generation: which steps were dense, sparse or reused, read from the records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from videosieve.errors import RecipeError
from videosieve.forward import Site
from videosieve.records import Record
from videosieve.schedule import Action, Schedule

_SHOWN = 4
"""Lines about generations that a summary has at most."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a run.

    Attributes:
        number: Counted from 0.
        announced: Denoising steps as known at its first call; 0 where the trace does not say.
        layers: Self-attentions that were seen.
        kinds: What every step that ran was: "dense", "sparse" or "reused", by step.
        warm: Steps that were dense because the schedule said so.
        passes: How often one branch ran in a step at most.
    """

    number: int
    announced: int
    layers: int
    kinds: dict[int, str]
    warm: frozenset[int]
    passes: int

    @classmethod
    def of(cls, number: int, records: Sequence[Record], warm_reason: str = "warm-up") -> "Generation":
        """From the records of one generation, in call order."""
        by_step: dict[int, list[Record]] = {}
        for record in records:
            by_step.setdefault(record.step, []).append(record)
        warm = {
            step
            for step, calls in by_step.items()
            if all(call.action == "dense" and call.reason == warm_reason for call in calls)
        }
        return cls(
            number,
            records[0].steps,
            max(record.layer for record in records) + 1,
            {step: _kind(calls) for step, calls in sorted(by_step.items())},
            frozenset(warm),
            max(record.pass_number for record in records) + 1,
        )

    @property
    def ran(self) -> int:
        """Steps up to the last one that ran."""
        return max(self.kinds) + 1

    @property
    def course(self) -> str:
        """For people: "steps 0–49, dense 0–9, sparse 10–49"."""
        parts = [f"steps {_ranges(self.kinds)}"]
        for kind in ("dense", "sparse", "reused"):
            steps = [step for step, one in self.kinds.items() if one == kind]
            parts += [f"{kind} {_ranges(steps)}"] if steps else []
        if self.passes > 1:
            parts.append(f"a branch up to {self.passes} times a step")
        if self.announced and self.announced != self.ran:
            parts.append(f"{self.announced} steps were announced")
        return ", ".join(parts)

    def mismatch(self, schedule: Schedule, reached: int = -1) -> str:
        """A sentence where another share of the steps was warmed up than the schedule means; else empty.

        Args:
            schedule: What was meant.
            reached: The last step that ran, where somebody knows; a cache may have left all calls of it out.
        """
        if not self.announced or self.announced in (self.ran, reached + 1):
            return ""
        # Steps that a cache has left out in whole have no records, and are no mismatch.
        meant = sum(self._is_meant_dense(schedule, step) for step in self.kinds)
        if meant == len(self.warm):
            return ""
        return (
            f"generation {self.number} was dense in {len(self.warm)} of {self.ran} steps, the recipe means {meant}: "
            f"{self.announced} steps were announced and {self.ran} ran"
        )

    def _is_meant_dense(self, schedule: Schedule, step: int) -> bool:
        sites = (Site(layer, self.layers, step, self.ran) for layer in range(self.layers))
        try:
            return all(schedule.action(site) is Action.DENSE for site in sites)
        except (
            RecipeError
        ):  # a plan for another number of steps: it was refused, or the generation was cut short
            return step in self.warm


def generations_of(records: Iterable[Record], warm_reason: str = "warm-up") -> list[Generation]:
    """The generations of a trace.

    Args:
        records: In call order; generations may alternate.
        warm_reason: What the trace says of calls that the schedule keeps dense.

    Returns:
        One entry per generation, in order of their numbers.
    """
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(record.generation, []).append(record)
    return [Generation.of(number, found[number], warm_reason) for number in sorted(found)]


@dataclass
class Courses:
    """The courses of many generations in bounded memory: neighbours with the same course share a line.

    Attributes:
        spans: First and last generation and their course: the first few lines.
        last: The newest line, where it is none of the first few.
        more: Lines between the first few and the newest.
        generations: How many generations there were.
    """

    spans: list[tuple[int, int, str]] = field(default_factory=list)
    last: tuple[int, int, str] | None = None
    more: int = 0
    generations: int = 0

    def extend(self, generations: Iterable[Generation]) -> None:
        """Add generations that came after those that are there."""
        for one in generations:
            self.generations += 1
            self._add(one.number, one.course)

    def copy(self) -> "Courses":
        """Courses of their own."""
        return Courses(list(self.spans), self.last, self.more, self.generations)

    def lines(self) -> list[str]:
        """For people."""
        spans = [*self.spans, *([self.last] if self.last else [])]
        lines = []
        for first, last, course in spans:
            name = f"generation {first}" if first == last else f"generations {first}–{last}"
            lines.append(course if self.generations == 1 else f"{name}: {course}")
        if len(lines) + self.more > _SHOWN:
            lines[_SHOWN - 1 :] = [f"and {len(lines) + self.more - _SHOWN + 1} more courses"]
        return lines

    def _add(self, number: int, course: str) -> None:
        newest = self.last or (self.spans[-1] if self.spans else None)
        if newest is not None and newest[2] == course:
            span = newest[0], number, course
        else:
            span = number, number, course
            if len(self.spans) < _SHOWN:
                self.spans.append(span)
                return
            self.more += self.last is not None
            self.last = span
            return
        if self.last is not None:
            self.last = span
        else:
            self.spans[-1] = span


def _kind(calls: Sequence[Record]) -> str:
    actions = {call.action for call in calls}
    return "sparse" if "sparse" in actions else "reused" if "reuse" in actions else "dense"


def _ranges(steps: Iterable[int]) -> str:
    """1, 2, 3, 7 as "1–3, 7"."""
    parts = []
    for _, run in groupby(enumerate(sorted(steps)), key=lambda pair: pair[1] - pair[0]):
        run = [step for _, step in run]
        parts.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}")
    return ", ".join(parts)
