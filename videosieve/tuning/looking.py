"""What a tune does before it measures: a dense video looked at, tables fitted, methods screened, all within its time.

Half of the budget is the most that this may take: what is screened later could not be measured any more. Every finished
part is in the journal. The dense video is looked at again after an interruption, since the calls that are replayed are
too large to keep.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from videosieve.errors import ModelError
from videosieve.recipe import Recipe
from videosieve.tuning.capture import Capture, capture
from videosieve.tuning.finalists import turn_seconds
from videosieve.tuning.head_tables import fit_tables
from videosieve.tuning.order import Order
from videosieve.tuning.parts import PART, OutOfTime, Parts
from videosieve.tuning.screening import screen
from videosieve.tuning.search import Family, Journal, Screen, families
from videosieve.tuning.search.candidates import KNOBS, SHORT
from videosieve.tuning.search.written import written_family
from videosieve.tuning.trials import shoot

SHARE = 0.5
"""Of the budget, for everything before the first measurement."""

TABLES, LOOK, TRIED = "tables", "look", 2
"""Kinds of journal entries; steps of the dense video that says how long a whole one takes."""


@dataclass
class Looking:
    """The work before the first measurement.

    Attributes:
        pipe: A diffusers video pipeline.
        order: What to tune for.
        journal: Where finished parts are.
        steps: Denoising steps.
        note: Notes a finished part: its kind, and values.
        watch: Told what is at work, finished parts of it, and all parts.
        begin: Told the stage.
        spent: Seconds so far, earlier runs included.
    """

    pipe: Any
    order: Order
    journal: Journal
    steps: int
    note: Callable[..., None]
    watch: Callable[[str, int, int], None]
    begin: Callable[[str], None]
    spent: Callable[[], float]

    def run(self) -> tuple[Screen, list[Family], int]:
        """Look and screen, or go on with it.

        Returns:
            The tables, every family that was screened, and the tokens of the video.

        Raises:
            ModelError: The budget is too small for anything, or ended before one step was screened.
        """
        self.begin("looking")
        if not self.journal.of_kind(LOOK):
            self._require_room()
        try:
            return self._run()
        except OutOfTime:
            raise ModelError(
                f"the budget of {self.order.minutes:g} minutes is too small: half of it, the most that looking and "
                f"screening may take, ended before one step was screened; what is finished is kept, give more minutes "
                f"to go on with it"
            ) from None

    def _run(self) -> tuple[Screen, list[Family], int]:
        parts = Parts(
            lambda: self.spent() > SHARE * 60 * self.order.minutes,
            lambda part: self.note(PART, **part),
            {part["step"]: part for part in self.journal.of_kind(PART)},
        )

        def advance(step: int, steps: int) -> None:
            self.watch("dense video", step, steps)
            parts.require_time()

        seen = capture(self.pipe, self.order.search[0], advance)
        self.note(LOOK)
        self.begin("screening")
        listed = families(self.order.methods, seen.tokens) + self._tables(seen, parts)
        written = [family for recipe in self.order.start if (family := written_family(recipe))]
        listed += written
        tables = screen(
            seen,
            listed,
            lambda done, total: self.watch("methods and layers", done, total),
            keep={family.name for family in written},
            parts=parts,
        )
        return tables, listed, seen.tokens

    def _tables(self, seen: Capture, parts: Parts) -> list[Family]:
        for entry in self.journal.of_kind(TABLES):
            return [Family.from_json(family) for family in entry["families"]]
        self.watch("tables per head", 0, 0)
        methods = list(KNOBS) if self.order.methods is None else list(self.order.methods)
        found = fit_tables(seen, methods, 32 if seen.tokens < SHORT else None, parts)
        self.note(TABLES, families=[family.as_json() for family in found])
        return found

    def _require_room(self) -> None:
        """Refuse at the start a budget that cannot hold one look, one measurement and its check."""
        self.watch("how long a dense video takes", 0, 0)
        dense = self._dense_seconds()
        needed = self._needed(dense)
        if needed > 60 * self.order.minutes:  # perhaps only because everything was cold
            dense = self._dense_seconds()
            needed = self._needed(dense)
        if needed <= 60 * self.order.minutes:
            return
        raise ModelError(
            f"the budget of {self.order.minutes:g} minutes is too small for anything: a dense video takes about "
            f"{dense:.2g} s here, and one look, one measurement and its check {needed / 60:.2g} minutes at the least; "
            f"give more minutes, fewer prompts, or a smaller video"
        )

    def _needed(self, dense: float) -> float:
        return least_seconds(dense, len(self.order.search), len(self.order.check))

    def _dense_seconds(self) -> float:
        tried = min(TRIED, self.steps)
        shot = shoot(self.pipe, replace(self.order.search[0], steps=tried), Recipe.of("dense"))
        return shot.seconds * self.steps / tried


def least_seconds(dense: float, searched: int, checked: int) -> float:
    """The least that a tune takes: a look, a step of screening, a measurement, and the check of one finalist.

    Args:
        dense: Seconds of a dense video.
        searched: Videos that the search measures on.
        checked: Videos of the check.
    """
    return dense * (2 + 2 * searched) + turn_seconds(dense, checked, 1)
