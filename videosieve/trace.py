"""What happened: one record per attention call, as JSON lines in and out; the oldest go when there are many."""

import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Literal

from torch import Tensor

from videosieve.errors import RecipeError
from videosieve.fields import from_table
from videosieve.files import read_json_lines, write_text
from videosieve.forward import Site
from videosieve.records import Outcome, Record
from videosieve.summary import Summary
from videosieve.timing import Reading, milliseconds_of
from videosieve.totals import Totals

LOG = logging.getLogger("videosieve")
KEPT = 3
"""Generations that keep their records where nobody says how many."""
ROUNDING = 1e-9
"""Densities of heads that lie closer together are the same."""


class Trace:
    """The records of a run. What a device has yet to say is read when somebody looks, or when a generation is over.

    Attributes:
        keep: How many generations keep their records, the newest among them: "last", a number of at least 1, or "all".
            When one begins, the oldest that are over go; what they add up to stays in `earlier`.
        earlier: Totals of the generations whose records are gone.
        reached: The last step of every generation that has run or ended lately, where the integration says it; a cache
            may leave the last steps without a record.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._keep: Literal["last", "all"] | int = KEPT
        self.clear()
        self._take(records)

    def clear(self) -> None:
        """Forget everything, totals too; `keep` stays."""
        self.earlier = Totals()
        self.reached: dict[int, int] = {}
        self._records: list[Record] = []
        self._owners: list[_Owner] = []
        self._open: dict[int, _Owner] = {}
        self._closed: list[_Owner] = []
        self._pending: list[tuple[Site, Outcome, Reading]] = []

    @property
    def keep(self) -> Literal["last", "all"] | int:
        """How many generations keep their records."""
        return self._keep

    @keep.setter
    def keep(self, value: Literal["last", "all"] | int) -> None:
        counts = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not counts and value not in ("last", "all"):
            raise RecipeError(
                f"trace.keep must be 'last', 'all' or a number of generations >= 1, got {value!r}"
            )
        self._keep = value

    def add(self, site: Site, outcome: Outcome, milliseconds: Reading) -> None:
        """Note one call. One whose milliseconds are known is over, and read at once; others are asked once, later."""
        if LOG.isEnabledFor(logging.DEBUG):
            LOG.debug(
                "layer %d, step %d, %s: %s by %s%s", site.layer, site.step, site.branch, outcome.action,
                outcome.kernel or "nobody", f" ({outcome.reason})" if outcome.reason else "",
            )  # fmt: skip
        if self._pending or callable(milliseconds):
            self._pending.append((site, outcome, milliseconds))
        else:
            self._take([_resolve(site, outcome, milliseconds)])

    @property
    def records(self) -> list[Record]:
        """All records that are kept, in call order; a list of yours. `clear` forgets them."""
        self._read()
        return list(self._records)

    def __len__(self) -> int:
        return len(self._records) + len(self._pending)

    def close(self, running: Collection[int] = ()) -> list[list[Record]]:
        """End all generations but those that are still running, and let the oldest records go.

        Args:
            running: Their numbers.

        Returns:
            The records of every generation that has ended with this, in order.
        """
        self._read()
        self.reached = {n: step for n, step in self.reached.items() if n in running or n in self._open}
        ended = [owner for number, owner in self._open.items() if number not in running]
        told = [self._of(one) for one in ended]
        self._open = {number: owner for number, owner in self._open.items() if number in running}
        self._closed += ended
        for owner in ended:
            owner.ended = True
        self._drop()
        return told

    def summary(self) -> "Summary":
        """Totals over everything traced so far."""
        return Summary.of(self.records, earlier=self.earlier)

    @property
    def unfinished(self) -> list[Record]:
        """The records of generations that have not ended."""
        records = self.records
        return [r for r, owner in zip(records, self._owners, strict=True) if not owner.ended]

    def _read(self) -> None:
        pending, self._pending = self._pending, []
        self._take(_resolve(*entry) for entry in pending)

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            self._records.append(record)
            self._owners.append(self._open.setdefault(record.generation, _Owner()))

    def _drop(self) -> None:
        """Let the oldest records go; the generation that is about to begin counts too."""
        if self._keep == "all":
            return
        over = (1 if self._keep == "last" else self._keep) - 1
        gone = self._closed[: max(0, len(self._closed) - over)]
        if not gone:
            return
        self._closed = self._closed[len(gone) :]
        for owner in gone:
            self.earlier.add(self._of(owner))
        # No list of pairs: Python would keep its tuples, thousands of them, for the next ones of that size.
        stay = [owner not in gone for owner in self._owners]
        self._records, self._owners = list(compress(self._records, stay)), list(compress(self._owners, stay))

    def _of(self, owner: "_Owner") -> list[Record]:
        return [record for record, one in zip(self._records, self._owners, strict=True) if one is owner]

    def save(self, path: str | Path) -> None:
        """Write one JSON object per record and line, whole or not at all; an OutputError says why it could not."""
        lines = "".join(json.dumps(asdict(record)) + "\n" for record in self.records)
        write_text(Path(path), lines)

    @classmethod
    def load(cls, path: str | Path) -> "Trace":
        """Read what `save` wrote.

        Raises:
            RecipeError: The file is missing, or a line is not a record.
        """
        rows = read_json_lines(path, "trace", RecipeError)
        return cls(from_table(Record, row, f"{path}:{number}", RecipeError) for number, row in rows)


class _Owner:
    """One generation as far as the trace is concerned: a number may come again after its generation has ended."""

    ended = False


def _resolve(site: Site, outcome: Outcome, milliseconds: Reading) -> Record:
    recall = _NONE if outcome.recall is None else outcome.recall.float().mean(0).tolist()
    pattern = (
        () if outcome.pattern is None else tuple(outcome.patterns[i] for i in outcome.pattern[0].tolist())
    )
    density, densities = _densities(outcome.density)
    return Record(
        site.layer,
        site.step,
        site.branch,
        outcome.action,
        outcome.reason,
        outcome.kernel,
        outcome.pairs,
        density,
        recall,
        _names(pattern),
        milliseconds_of(milliseconds),
        outcome.source,
        site.generation,
        site.steps,
        site.pass_number,
        site.items,
        outcome.note,
        _NONE if outcome.compensated is None else outcome.compensated.float().mean(0).tolist(),
        densities,
        site.head_numbers,
    )


_NONE: list[float] = []


def _densities(density: float | Tensor) -> tuple[float, list[float]]:
    """The mean, and the values by head where they differ."""
    if not isinstance(density, Tensor):
        return float(density), _NONE
    values = density.double().mean(0).tolist() if density.ndim == 2 else [float(density.double().mean())]
    mean = sum(values) / len(values)
    return mean, values if max(values) - min(values) > ROUNDING else _NONE


@lru_cache(maxsize=1024)
def _names(pattern: tuple[str, ...]) -> list[str]:
    """Records with the same pattern share it: a trace has thousands, and a model some dozens of patterns."""
    return list(pattern)
