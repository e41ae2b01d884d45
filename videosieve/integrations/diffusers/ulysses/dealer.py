"""Which heads every rank gets: equally many, with nearly equal work, settled before the first call of a generation.

What a method remembers of a head stays with the rank that has it, so heads change hands between generations only. What
is known of their work by then: a table of the method that tells it, what the run has computed since heads were dealt
last, or the trace of another run. The ranks add up what each of them knows, and so deal alike.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.dealing import HeadWork, busiest, deal_heads
from videosieve.errors import IntegrationError
from videosieve.fields import shown
from videosieve.forward import Site
from videosieve.integrations.diffusers.targets import Target
from videosieve.integrations.diffusers.ulysses.share import Share
from videosieve.layout import VideoLayout
from videosieve.run import Run
from videosieve.trace import Trace

DENSITY = "density"
WORTHWHILE = 0.98
"""A deal is changed where the busiest rank would then compute less than this share of what it computes now."""
KEPT = 8
"""Generations whose deals are remembered; those that run beside one another on a pipeline are never so many."""


class Order:
    """In which order the heads of one layer are exchanged. No dataclass: compiled code would look at every number.

    Attributes:
        numbers: Numbers of heads, rank after rank.
        places: The same, int64 [heads].
        inverse: What undoes it, int64 [heads].
    """

    def __init__(self, numbers: tuple[int, ...], device: torch.device) -> None:
        self.numbers = numbers
        self.places = torch.tensor(numbers).to(device)
        self.inverse = torch.tensor(numbers).argsort().to(device)


def read_deal(deal: "str | Path | Trace | None") -> HeadWork | None:
    """What is known of the work of heads before the run.

    Args:
        deal: As `sparsify` takes it.

    Returns:
        None where heads are not to be dealt.

    Raises:
        IntegrationError: It is none of these, or the trace does not tell heads apart.
        RecipeError: The file is no trace.
    """
    if deal is None:
        return None
    if isinstance(deal, str) and deal == DENSITY:
        return HeadWork()
    if isinstance(deal, str | Path) and str(deal).endswith(".jsonl"):
        deal = Trace.load(deal)
    if not isinstance(deal, Trace):
        raise IntegrationError(
            f'deal must be None, "{DENSITY}", a trace or the path of one ending in .jsonl, got {shown(deal)}'
        )
    work = HeadWork.of(deal.records)
    if not work.owners:
        raise IntegrationError(
            "the trace that deal names has no call whose heads differ in density, so that no deal is better than "
            f'another; leave deal out, or give deal="{DENSITY}" if its method is another one'
        )
    return work


class Dealer:
    """Deals the heads of one transformer.

    Args:
        found: The transformer.
        run: Whose work is counted.
        given: What was known of heads before.

    Raises:
        IntegrationError: What was known is about other heads.
    """

    def __init__(self, found: Target, run: Run, given: HeadWork) -> None:
        self._found, self._run, self._given = found, run, _table_for(found, given)
        self._deals: dict[int, list[Order] | None] = {}
        self._last: list[Order] | None = None
        self._counted = torch.zeros(found.layers, found.heads, dtype=torch.float64)

    def orders(
        self, generation: int, share: Share, layout: VideoLayout | None, device: torch.device
    ) -> list[Order] | None:
        """The order of every layer's heads in a generation, settled at its first forward; every rank must ask.

        Args:
            generation: Its number.
            share: Of this rank.
            layout: Of its attention calls, where one is known.
            device: Where the heads are.

        Returns:
            One per layer; None where the model's own is as good.

        Raises:
            IntegrationError: Nobody knows of a head what is known of others.
        """
        if generation not in self._deals:
            known = add_up(self._known(layout), share)
            if float(known.sum()):
                self._deal(known, share.degree, device)
            self._deals[generation] = self._last
            for old in sorted(self._deals)[:-KEPT]:
                del self._deals[old]
        return self._deals[generation]

    def _known(self, layout: VideoLayout | None) -> Tensor:
        """Work of heads [layers, heads], in any unit, as far as this rank knows it."""
        work, name = self._run.work, self._found.component
        computed = work.table(name) if work is not None and name in work.owners else self._counted
        fresh, self._counted = computed - self._counted, computed
        told = None if layout is None else self._told(layout)
        if told is not None:
            return told
        return fresh if float(fresh.sum()) else self._given

    def _told(self, layout: VideoLayout) -> Tensor | None:
        layers, heads = self._found.layers, self._found.heads
        sites = [
            Site(layer, layers, heads=heads, head_numbers=tuple(range(heads))) for layer in range(layers)
        ]
        rows = [self._run.recipe.method.known_densities(site, layout) for site in sites]
        return None if any(row is None for row in rows) else torch.tensor(rows, dtype=torch.float64)

    def _deal(self, work: Tensor, ranks: int, device: torch.device) -> None:
        rows: list[list[float]] = work.tolist()
        own = tuple(range(self._found.heads))
        last = [order.numbers for order in self._last] if self._last else [own] * len(rows)
        better = [_better(row, order, ranks) for row, order in zip(rows, last, strict=True)]
        if better != last:
            moved = any(numbers != own for numbers in better)
            self._last = [Order(numbers, device) for numbers in better] if moved else None


def _table_for(found: Target, given: HeadWork) -> Tensor:
    """What was known of the heads of a transformer, float64 [layers, heads]."""
    table = torch.zeros(found.layers, found.heads, dtype=torch.float64)
    if given.owners:
        known = given.table("")
        layers, heads = known.shape
        if layers > found.layers or heads > found.heads:
            raise IntegrationError(
                f"the trace that deal names is about {layers} layers of {heads} heads, and {found.component} has "
                f"{found.layers} of {found.heads}; give a trace of this model"
            )
        table[:layers, :heads] = known
    return table


def _better(work: Sequence[float], order: tuple[int, ...], ranks: int) -> tuple[int, ...]:
    """A new order where it is worth it, else the one that there is."""
    new = deal_heads(work, ranks)
    return new if busiest(work, new, ranks) < WORTHWHILE * busiest(work, order, ranks) else order


def add_up(known: Tensor, share: Share) -> Tensor:
    """What the ranks know together, float64 on the CPU.

    Raises:
        IntegrationError: Nobody knows of a head what is known of others.
    """
    import torch.distributed as dist

    group = share.config.context_parallel_config._ulysses_mesh.get_group()
    place = "cuda" if "nccl" in str(dist.get_backend(group)) else "cpu"
    total = known.to(place, copy=True)
    dist.all_reduce(total, group=group)
    total = total.cpu()
    lost: Any = (total == 0) & (total.sum(-1, keepdim=True) > 0)
    if lost.any():
        layer, head = lost.nonzero()[0].tolist()
        raise IntegrationError(
            f"the traces that deal names tell nothing of head {head} in layer {layer} and do of others: a process "
            f"among several knows its own heads only; give every process the trace of a run of this model on one "
            f"device, or its own"
        )
    return total
