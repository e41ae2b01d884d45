"""Heads dealt to processes: equally many for each, with nearly equal work.

Where processes share a video by heads (Ulysses), they wait for the slowest of them in every layer. Work is computed
query–key pairs. Which heads a process gets changes nothing of what any head computes.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.records import Outcome, Record


def rooms(heads: int, ranks: int) -> tuple[int, ...]:
    """How many heads every rank has: as many as the others, the last ones fewer where they do not divide."""
    each = -(-heads // ranks)
    return tuple(max(min(each, heads - rank * each), 0) for rank in range(ranks))


def deal_heads(work: Sequence[float], ranks: int) -> tuple[int, ...]:
    """An order of heads in which the stretch of every rank has nearly the same work.

    The heaviest head left goes to the rank with the least work that has room; then two ranks exchange heads for as long
    as that brings their work closer together. The same numbers make the same order on every rank.

    Args:
        work: Of every head, in any unit, not negative.
        ranks: How many stretches; as long as `rooms` says.

    Returns:
        Numbers of heads, rank after rank, ascending within a rank; the heads' own order where none is better.
    """
    room = rooms(len(work), ranks)
    hands: list[list[int]] = [[] for _ in room]
    for head in sorted(range(len(work)), key=lambda head: (-work[head], head)):
        open_ranks = (rank for rank in range(ranks) if len(hands[rank]) < room[rank])
        hands[min(open_ranks, key=lambda rank: (_load(work, hands[rank]), rank))].append(head)
    while _exchange(work, hands):
        pass
    dealt = tuple(head for hand in hands for head in sorted(hand))
    own = tuple(range(len(work)))
    return dealt if busiest(work, dealt, ranks) < busiest(work, own, ranks) else own


def _load(work: Sequence[float], hand: Sequence[int]) -> float:
    return sum(work[head] for head in hand)


def _exchange(work: Sequence[float], hands: list[list[int]]) -> bool:
    """Exchange the two heads that bring two ranks closest together; whether there was such a pair."""
    least = 1e-9 * sum(work)
    best: tuple[float, int, int, int, int] | None = None
    for a in range(len(hands)):
        for b in range(a):
            gap = _load(work, hands[a]) - _load(work, hands[b])
            for i, one in enumerate(hands[a]):
                for j, other in enumerate(hands[b]):
                    closer = abs(gap) - abs(gap - 2 * (work[one] - work[other]))
                    if closer > least and (best is None or closer > best[0]):
                        best = (closer, a, i, b, j)
    if best is None:
        return False
    _, a, i, b, j = best
    hands[a][i], hands[b][j] = hands[b][j], hands[a][i]
    return True


def busiest(work: Sequence[float], order: Sequence[int], ranks: int) -> float:
    """Work of the rank that has most of it, where heads are dealt in an order."""
    at, most = 0, 0.0
    for room in rooms(len(work), ranks):
        most = max(most, _load(work, order[at : at + room]))
        at += room
    return most


class HeadWork:
    """Computed query–key pairs of every head, by transformer and layer.

    A process that holds some of the heads knows of those; of others it has 0. Sums stay on their device until somebody
    asks.
    """

    def __init__(self) -> None:
        self._known: dict[str, Tensor] = {}
        self._fresh: dict[tuple[str, int, tuple[int, ...]], Tensor | float] = {}

    @classmethod
    def of(cls, records: Iterable[Record]) -> "HeadWork":
        """Of the records of a trace, which do not say which transformer a call was of: all are "".

        Only calls count that say how many heads there are: whose heads differ, or that held some of a model's heads.
        """
        made = cls()
        for one in records:
            if one.densities or one.heads:
                heads = one.heads or tuple(range(len(one.densities)))
                densities = one.densities or [one.density] * len(heads)
                work = torch.tensor(densities, dtype=torch.float64) * (one.pairs / len(heads))
                made._add("", one.layer + 1, max(heads) + 1, one.layer, heads, work)
        return made

    def note(self, call: AttentionCall, outcome: Outcome, owner: str) -> None:
        """Add what a call has computed.

        Args:
            call: The call.
            outcome: How it was computed.
            owner: The transformer.
        """
        each, density = outcome.pairs / call.heads, outcome.density
        if isinstance(density, Tensor):
            density = density.double().mean(0) if density.ndim == 2 else density.double().mean()
        site = call.site
        self._add(owner, site.layers, call.all_heads, site.layer, call.head_numbers, density * each)

    def _add(
        self, owner: str, layers: int, heads: int, layer: int, held: tuple[int, ...], work: Tensor | float
    ) -> None:
        known = self._known.get(owner)
        if known is None or layers > known.shape[0] or heads > known.shape[1]:
            self._known[owner] = _grown(known, layers, heads)
        key = (owner, layer, held)
        self._fresh[key] = self._fresh.get(key, 0.0) + work

    @property
    def owners(self) -> list[str]:
        """Transformers that computed something, by name."""
        return sorted(self._known)

    def table(self, owner: str) -> Tensor:
        """Computed pairs of a transformer's heads, float64 [layers, heads] on the CPU; 0 where nothing is known."""
        table = self._known.get(owner, torch.zeros(0, 0, dtype=torch.float64))
        for key in [key for key in self._fresh if key[0] == owner]:
            work = self._fresh.pop(key)
            table[key[1], list(key[2])] += work.cpu() if isinstance(work, Tensor) else work
        return table.clone()


def _grown(table: Tensor | None, layers: int, heads: int) -> Tensor:
    table = torch.zeros(0, 0, dtype=torch.float64) if table is None else table
    more_layers, more_heads = max(layers - table.shape[0], 0), max(heads - table.shape[1], 0)
    return pad(table, (0, more_heads, 0, more_layers))
