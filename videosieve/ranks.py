"""Totals over the ranks of a process group: the slowest of them is the wall time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.dealing import rooms
from videosieve.records import Record


@dataclass(frozen=True, slots=True)
class RankTotals:
    """What one rank computed.

    Attributes:
        run_density: Computed query–key pairs ÷ all pairs of its heads, in [0, 1].
        sparse_density: The same over its sparse calls; None where it had none.
        recall: Mean over its sparse calls and heads; None where not measured.
        attention_seconds: Seconds in attention.
        pairs: Query–key pairs of its heads.
        sparse_pairs: Those of its sparse calls.
    """

    run_density: float
    sparse_density: float | None
    recall: float | None
    attention_seconds: float
    pairs: float
    sparse_pairs: float


def gather_totals(own: RankTotals) -> tuple[RankTotals, ...]:
    """The totals of all ranks of the default process group, in order; every rank must ask.

    Args:
        own: Of this rank.

    Returns:
        One entry per rank; `own` alone without a process group.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return (own,)
    device = "cuda" if "nccl" in str(dist.get_backend()) else "cpu"
    values = [
        own.run_density,
        own.sparse_density,
        own.recall,
        own.attention_seconds,
        own.pairs,
        own.sparse_pairs,
    ]
    mine = torch.tensor([math.nan if x is None else x for x in values], dtype=torch.float64, device=device)
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine)
    return tuple(_totals(part.tolist()) for part in parts)


@dataclass(frozen=True, slots=True)
class Balance:
    """Computed pairs of the busiest rank ÷ the mean of the ranks, call by call: for it the others wait.

    Attributes:
        dealt: As heads were dealt to ranks, at least 1.
        own_order: As it would have been with the first heads on the first rank, and so on.
    """

    dealt: float
    own_order: float


def gather_balance(records: Sequence[Record]) -> Balance | None:
    """How evenly the ranks of the default process group worked; every rank must ask.

    Args:
        records: Of this rank, as many as the others have, each about the same call.

    Returns:
        The balance; None without a process group, without computed calls, where no call says which heads it held, or
        where the ranks have other records.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return None
    device, ranks = "cuda" if "nccl" in str(dist.get_backend()) else "cpu", dist.get_world_size()
    heads = max((max(one.heads) + 1 for one in records if one.heads), default=0)
    sizes = torch.tensor([len(records), -len(records), heads], device=device)
    dist.all_reduce(sizes, dist.ReduceOp.MAX)
    if int(sizes[0] + sizes[1]) or not records or not int(sizes[2]):
        return None
    work = work_by_head(records, int(sizes[2])).to(device)
    load, total = work.sum(-1), work.sum(-1)
    dist.all_reduce(load, dist.ReduceOp.MAX)
    dist.all_reduce(total)
    dist.all_reduce(work)
    own_order = torch.stack(
        [part.sum(-1) for part in work.split(list(rooms(work.shape[-1], ranks)), -1)]
    ).amax(0)
    mean = float(total.sum()) / ranks
    return Balance(float(load.sum()) / mean, float(own_order.sum()) / mean) if mean else None


def work_by_head(records: Sequence[Record], heads: int) -> Tensor:
    """Computed pairs of every call and head, float64 [calls, heads]; 0 for heads that a call did not hold.

    Calls that do not say which heads they held are spread over all.
    """
    rows = []
    for one in records:
        held = one.heads or range(heads)
        shares = one.densities or [one.density] * len(held)
        row = [0.0] * heads
        for head, share in zip(held, shares, strict=True):
            row[head] = share * one.pairs / len(held)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).reshape(len(records), heads)


def merged(ranks: Sequence[RankTotals]) -> dict[str, Any]:
    """Totals of all ranks as fields of a summary: means weighted by pairs, and the seconds of the slowest."""
    return {
        "run_density": _mean(ranks, "run_density", "pairs"),
        "sparse_density": _mean(ranks, "sparse_density", "sparse_pairs"),
        "recall": _mean(ranks, "recall", "sparse_pairs"),
        "attention_seconds": max(one.attention_seconds for one in ranks),
        "pairs": round(sum(one.pairs for one in ranks)),
        "sparse_pairs": round(sum(one.sparse_pairs for one in ranks)),
        "ranks": tuple(ranks),
    }


def imbalance(ranks: Sequence[RankTotals]) -> float:
    """Computed pairs of the rank that computes most ÷ their mean: at least 1, and 1 where all have equal work."""
    work = [one.run_density * one.pairs for one in ranks]
    return max(work) * len(work) / sum(work) if sum(work) else 1.0


def _mean(ranks: Sequence[RankTotals], field: str, weight: str) -> float | None:
    """Of a field over the ranks that have it; None where none has it."""
    pairs = [(getattr(one, field), getattr(one, weight)) for one in ranks if getattr(one, field) is not None]
    total = sum(size for _, size in pairs)
    return sum(value * size for value, size in pairs) / total if total else next((x for x, _ in pairs), None)


def _totals(values: list[float]) -> RankTotals:
    density, sparse, recall, seconds, pairs, sparse_pairs = values
    sparse, recall = (None if math.isnan(x) else x for x in (sparse, recall))
    return RankTotals(density, sparse, recall, seconds, pairs, sparse_pairs)
