"""What happened: one record per attention call, as JSON lines in and out, and the summary over them.

Density and recall are always reported together. *Run density* counts every call of the generation, the dense warm-up
included; *sparse density* counts the sparse calls only. Both are weighted by query–key pairs.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from videosieve.errors import RecipeError
from videosieve.fields import from_table
from videosieve.files import read_json_lines, write_text
from videosieve.forward import Site
from videosieve.generations import describe_generations, generations_of
from videosieve.ranks import RankTotals, gather_totals, imbalance, merged
from videosieve.records import Outcome, Record


class Trace:
    """The records of a run. Device tensors and timers are read only when somebody looks."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = list(records)
        self._pending: list[tuple[Site, Outcome, Callable[[], float]]] = []

    def add(self, site: Site, outcome: Outcome, milliseconds: Callable[[], float]) -> None:
        """Note one call; `milliseconds` is asked once, later."""
        self._pending.append((site, outcome, milliseconds))

    @property
    def records(self) -> list[Record]:
        """All records so far, in call order."""
        self._records += [_resolve(*entry) for entry in self._pending]
        self._pending.clear()
        return self._records

    def __len__(self) -> int:
        return len(self._records) + len(self._pending)

    def summary(self) -> "Summary":
        """Totals over all records."""
        return Summary.of(self.records)

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


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a run.

    Attributes:
        calls: Attention calls.
        sparse_calls: How many of them were sparse.
        run_density: Computed pairs ÷ all pairs over the whole run, warm-up included.
        sparse_density: The same over the sparse calls; None without any.
        recall: Mean true softmax mass inside the kept blocks over the sparse calls; None if not measured.
        attention_seconds: Time inside attention calls, selection included.
        pattern_shares: Share of heads that got each pattern, over the sparse calls.
        dense_reasons: Calls that stayed dense, by reason.
        reused_calls: Calls that computed nothing and returned an earlier output.
        borrowed_calls: Sparse calls that took over the selection of another guidance branch.
        courses: Which steps ran and were dense, sparse or reused, in words, by generation.
        warnings: What is not as the recipe means it; a run knows, a trace alone does not.
        compensated: Mean softmax mass for which centroids answered, over the sparse calls where any did; None without.
        notes: What a run adds in words, a line each.
    """

    calls: int
    sparse_calls: int
    run_density: float
    sparse_density: float | None
    recall: float | None
    attention_seconds: float
    pattern_shares: dict[str, float]
    dense_reasons: dict[str, int]
    reused_calls: int = 0
    borrowed_calls: int = 0
    courses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    compensated: float | None = None
    notes: tuple[str, ...] = ()
    pairs: int = 0
    sparse_pairs: int = 0
    ranks: tuple[RankTotals, ...] = ()

    @property
    def imbalance(self) -> float:
        """Computed pairs of the rank with most of them ÷ their mean over the ranks, at least 1; 1 for one rank."""
        return imbalance(self.ranks)

    def over_ranks(self) -> "Summary":
        """Densities, recall and pairs of all ranks of the process group, and the seconds of the slowest.

        Every rank must ask. Calls, patterns, reasons and courses stay those of this rank.
        """
        own = RankTotals(
            self.run_density,
            self.sparse_density,
            self.recall,
            self.attention_seconds,
            self.pairs,
            self.sparse_pairs,
        )
        return replace(self, **merged(gather_totals(own)))

    @classmethod
    def of(cls, records: list[Record], warnings: Sequence[str] = (), notes: Sequence[str] = ()) -> "Summary":
        """Add up records."""
        sparse = [record for record in records if record.action == "sparse"]
        recalls = [value for record in sparse for value in record.recall]
        answered = [value for record in sparse for value in record.compensated]
        names = [name for record in sparse for name in record.pattern]
        reasons = [record.reason for record in records if record.action == "dense"]
        return cls(
            calls=len(records),
            sparse_calls=len(sparse),
            run_density=_density(records) if records else 1.0,
            sparse_density=_density(sparse) if sparse else None,
            recall=sum(recalls) / len(recalls) if recalls else None,
            attention_seconds=sum(record.milliseconds for record in records) / 1e3,
            pattern_shares={name: names.count(name) / len(names) for name in sorted(set(names))},
            dense_reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
            reused_calls=sum(record.action == "reuse" for record in records),
            borrowed_calls=sum(bool(record.source) for record in sparse),
            compensated=sum(answered) / len(answered) if answered else None,
            courses=tuple(describe_generations(generations_of(records))),
            warnings=tuple(warnings),
            pairs=sum(record.pairs for record in records),
            sparse_pairs=sum(record.pairs for record in sparse),
            notes=tuple(notes),
        )

    def __str__(self) -> str:
        parts = [f"warning: {warning}" for warning in self.warnings]
        parts += [
            f"{self.calls} attention calls, {self.sparse_calls} sparse",
            *self.courses,
            f"run density {self.run_density:.3f}",
        ]
        if self.sparse_density is not None:
            recall = "not measured" if self.recall is None else f"{self.recall:.3f}"
            parts.append(f"sparse density {self.sparse_density:.3f} at recall {recall}")
        if len(self.ranks) > 1:
            each = ", ".join(f"{one.run_density:.3f}" for one in self.ranks)
            parts.append(
                f"{len(self.ranks)} ranks at {each}; the busiest does {self.imbalance:.2f} × the mean"
            )
        if self.compensated is not None:
            parts.append(f"centroids answered for {self.compensated:.3f} of the mass")
        if self.borrowed_calls:
            parts.append(f"{self.borrowed_calls} took over the selection of another guidance branch")
        if self.reused_calls:
            parts.append(f"{self.reused_calls} returned an earlier output")
        parts.append(f"{self.attention_seconds:.2f} s in attention")
        parts += [f"{share:.0%} {name} heads" for name, share in self.pattern_shares.items()]
        parts += [f"{count} dense: {reason}" for reason, count in self.dense_reasons.items()]
        parts += self.notes
        return "\n".join(parts)


def _density(records: list[Record]) -> float:
    return sum(r.density * r.pairs for r in records) / sum(r.pairs for r in records)


def _resolve(site: Site, outcome: Outcome, milliseconds: Callable[[], float]) -> Record:
    recall = [] if outcome.recall is None else outcome.recall.float().mean(0).tolist()
    pattern = [] if outcome.pattern is None else [outcome.patterns[i] for i in outcome.pattern[0].tolist()]
    return Record(
        site.layer,
        site.step,
        site.branch,
        outcome.action,
        outcome.reason,
        outcome.kernel,
        outcome.pairs,
        float(torch.as_tensor(outcome.density, dtype=torch.float64).mean()),
        recall,
        pattern,
        milliseconds(),
        outcome.source,
        site.generation,
        site.steps,
        site.pass_number,
        site.items,
        outcome.note,
        [] if outcome.compensated is None else outcome.compensated.float().mean(0).tolist(),
    )
