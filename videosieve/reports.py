"""Who is told when a generation is over, and what was not as the recipe means it in those that are."""

from collections.abc import Callable, Mapping

from videosieve.generations import generations_of
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.trace import LOG, Summary, Trace

ASKED, DENSE = "the method asked for it", "the method is dense"
"""Why a call stayed dense, where the method says so."""
_SENTENCES = 8
"""Sentences about generations that are over that a run keeps."""

Listener = Callable[[int, Summary], object]


class Reports:
    """What a run remembers of finished generations, in bounded memory.

    Attributes:
        listeners: Called with the number of every generation that is over and its summary.

    Args:
        recipe: What the run means to do.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.listeners: list[Listener] = []
        self._recipe = recipe
        self._said: list[str] = []
        self._more = 0

    def sentences(self, trace: Trace) -> list[str]:
        """What is not as the recipe means it, a sentence each: the share of dense steps, or nothing sparse."""
        more = [f"and {self._more} more generations like these"] if self._more else []
        found = [*self._said, *more, *self._mismatches(trace.unfinished, trace.reached)]
        told = trace.summary()
        other = set(told.dense_reasons) - {self._recipe.schedule.dense_reason, ASKED, DENSE}
        if other and not self._recipe.is_dense and sum(told.dense_reasons.values()) == told.calls:
            found.append(f"nothing was sparse: {'; '.join(sorted(other))}")
        return found

    def tell(self, records: list[Record], reached: Mapping[int, int]) -> None:
        """Note what is wrong with a generation that is over, and tell who asked.

        A listener that fails is logged and costs no generation: it stands in the way of whoever asks for the next one.

        Args:
            records: Its records, at least one.
            reached: Last steps by generation, where they are known.
        """
        warnings = self._mismatches(records, reached)
        for warning in warnings:
            if len(self._said) < _SENTENCES:
                self._said.append(warning)
            else:
                self._more += 1
        if not self.listeners:
            return
        number, summary = records[0].generation, Summary.of(records, warnings)
        for listener in self.listeners:
            try:
                listener(number, summary)
            except Exception:  # noqa: BLE001 - whatever somebody else's code may raise
                LOG.exception("a listener of generation %d failed", number)

    def _mismatches(self, records: list[Record], reached: Mapping[int, int]) -> list[str]:
        schedule = self._recipe.schedule
        generations = generations_of(records, schedule.dense_reason)
        sentences = (one.mismatch(schedule, reached.get(one.number, -1)) for one in generations)
        return [said for said in sentences if said]

    def clear(self) -> None:
        """Forget what was said; listeners stay."""
        self._said.clear()
        self._more = 0
