"""Running totals over attention calls: what is left of generations whose records a trace no longer keeps."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from videosieve.generations import Courses, generations_of
from videosieve.records import Record


@dataclass
class Totals:
    """Sums that are enough for a summary; they grow with the number of different reasons and patterns, not of calls.

    Attributes:
        calls: Attention calls by action: "dense", "sparse", "reuse".
        pairs: Query–key pairs of them, by action.
        computed: Pairs that were computed, by action.
        recall: Sum and number of values over heads of sparse calls.
        compensated: The same of the mass that centroids or tangents answered for.
        milliseconds: Time inside attention calls.
        patterns: Heads by pattern, over sparse calls.
        reasons: Calls that stayed dense, by reason.
        borrowed: Sparse calls that took over another branch's selection.
        courses: Which steps ran and how, by generation.
    """

    calls: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    computed: dict[str, float] = field(default_factory=dict)
    recall: tuple[float, int] = (0.0, 0)
    compensated: tuple[float, int] = (0.0, 0)
    milliseconds: float = 0.0
    patterns: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    borrowed: int = 0
    courses: Courses = field(default_factory=Courses)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Totals":
        """Of some records, whole generations of them."""
        return cls().add(records)

    def add(self, records: Iterable[Record]) -> "Totals":
        """Add records of whole generations, and return itself."""
        records = list(records)
        for record in records:
            self.calls[record.action] += 1
            self.pairs[record.action] += record.pairs
            computed = self.computed.get(record.action, 0.0)
            self.computed[record.action] = computed + record.density * record.pairs
            self.milliseconds += record.milliseconds
            if record.action == "dense":
                self.reasons[record.reason] += 1
            elif record.action == "sparse":
                self.recall = _plus(self.recall, record.recall)
                self.compensated = _plus(self.compensated, record.compensated)
                self.patterns.update(record.pattern)
                self.borrowed += bool(record.source)
        self.courses.extend(generations_of(records))
        return self

    def copy(self) -> "Totals":
        """Totals of their own, for a summary that adds what is still in the trace."""
        return Totals(
            self.calls.copy(),
            self.pairs.copy(),
            dict(self.computed),
            self.recall,
            self.compensated,
            self.milliseconds,
            self.patterns.copy(),
            self.reasons.copy(),
            self.borrowed,
            self.courses.copy(),
        )

    def density(self, *actions: str) -> float | None:
        """Computed pairs ÷ all pairs over calls of these actions, over all calls without; None where there are none."""
        chosen = actions or tuple(self.calls)
        pairs = sum(self.pairs[action] for action in chosen)
        return sum(self.computed.get(action, 0.0) for action in chosen) / pairs if pairs else None


def mean_of(sums: tuple[float, int]) -> float | None:
    """A mean from a sum and a number of values; None without values."""
    total, count = sums
    return total / count if count else None


def _plus(sums: tuple[float, int], values: list[float]) -> tuple[float, int]:
    return sums[0] + sum(values), sums[1] + len(values)
