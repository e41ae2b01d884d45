"""What a run comes to: totals over its attention calls, in words.

Density and recall are always reported together. *Run density* counts every call of the generation, the dense warm-up
included; *sparse density* counts the sparse calls only. Both are weighted by query–key pairs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from videosieve.ranks import Balance, RankTotals, gather_balance, gather_totals, imbalance, merged
from videosieve.records import Record
from videosieve.totals import Totals, mean_of


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
        compensated: Mean softmax mass for which centroids or tangents answered, over the sparse calls where any did;
            None without.
        notes: What a run adds in words, a line each.
        dropped_generations: How many of the generations that are added up here have no records in the trace any more.
        pairs: Query–key pairs of all calls.
        sparse_pairs: Those of the sparse calls.
        ranks: Totals of every rank, where they were gathered.
        balance: How evenly the ranks worked, call by call, where their records were gathered.
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
    dropped_generations: int = 0
    pairs: int = 0
    sparse_pairs: int = 0
    ranks: tuple[RankTotals, ...] = ()
    balance: Balance | None = None

    @property
    def imbalance(self) -> float:
        """Computed pairs of the rank with most of them ÷ their mean over the ranks, at least 1; 1 for one rank."""
        return imbalance(self.ranks)

    def over_ranks(self, records: Sequence[Record] = ()) -> "Summary":
        """Densities, recall and pairs of all ranks of the process group, and the seconds of the slowest.

        Every rank must ask. Calls, patterns, reasons and courses stay those of this rank.

        Args:
            records: Of this rank, for the `balance`; those of generations that the trace has dropped are missing.
        """
        own = RankTotals(
            self.run_density,
            self.sparse_density,
            self.recall,
            self.attention_seconds,
            self.pairs,
            self.sparse_pairs,
        )
        return replace(self, **merged(gather_totals(own)), balance=gather_balance(records))

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        warnings: Sequence[str] = (),
        earlier: Totals | None = None,
        notes: Sequence[str] = (),
    ) -> "Summary":
        """Add up records, to the totals of earlier ones where there are any."""
        totals = Totals.of(records) if earlier is None else earlier.copy().add(records)
        names, dropped = totals.patterns, 0 if earlier is None else earlier.courses.generations
        return cls(
            calls=totals.calls.total(),
            sparse_calls=totals.calls["sparse"],
            run_density=1.0 if (density := totals.density()) is None else density,
            sparse_density=totals.density("sparse"),
            recall=mean_of(totals.recall),
            attention_seconds=totals.milliseconds / 1e3,
            pattern_shares={name: names[name] / names.total() for name in sorted(names)},
            dense_reasons={reason: totals.reasons[reason] for reason in sorted(totals.reasons)},
            reused_calls=totals.calls["reuse"],
            borrowed_calls=totals.borrowed,
            compensated=mean_of(totals.compensated),
            courses=tuple(totals.courses.lines()),
            warnings=tuple(warnings),
            notes=tuple(notes),
            dropped_generations=dropped,
            pairs=totals.pairs.total(),
            sparse_pairs=totals.pairs["sparse"],
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
        if self.balance is not None:
            told, other = (f"{x:.2f}" for x in (self.balance.dealt, self.balance.own_order))
            instead = "" if told == other else f", with heads in the model's order {other} ×"
            parts.append(f"call by call the busiest does {told} × the mean{instead}")
        if self.compensated is not None:
            parts.append(f"means answered for {self.compensated:.3f} of the mass")
        if self.borrowed_calls:
            parts.append(f"{self.borrowed_calls} took over the selection of another guidance branch")
        if self.reused_calls:
            parts.append(f"{self.reused_calls} returned an earlier output")
        parts.append(f"{self.attention_seconds:.2f} s in attention")
        parts += [f"{share:.0%} {name} heads" for name, share in self.pattern_shares.items()]
        parts += [f"{count} dense: {reason}" for reason, count in self.dense_reasons.items()]
        parts += self.notes
        if self.dropped_generations:
            parts.append(
                f"{self.dropped_generations} generations are in these totals and no longer in the trace"
            )
        return "\n".join(parts)
