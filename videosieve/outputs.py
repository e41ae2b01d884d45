"""Module outputs that a later step, or the other guidance branch, returns again; and how much memory they hold.

An output is kept only where the schedule says that it will be wanted, and given up when a newer one takes its place or
its generation ends. Each branch, and each pass of a branch in a step, has its own: the conditional output never stands
in for the unconditional one unless the schedule shares them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from videosieve.forward import Site
from videosieve.schedule import Kind, Schedule


@dataclass(frozen=True, slots=True)
class Kept:
    """One stored output.

    Attributes:
        value: What the module returned: a tensor, or a tuple of tensors and None. Not to be written to.
        site: Where it was computed.
        pairs: Query–key pairs of the attention call behind it; 0 for feed-forward modules.
        form: How its tokens lie; anything that can be compared.
    """

    value: Any
    site: Site
    pairs: int = 0
    form: object = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a run holds on its device between steps.

    Attributes:
        states: What the method remembers.
        outputs: Module outputs kept for reuse.
        peak_outputs: The most that `outputs` was since the generation began.
    """

    states: int
    outputs: int
    peak_outputs: int

    def __str__(self) -> str:
        parts = (
            ("method states", self.states),
            ("stored outputs", self.outputs),
            ("at most", self.peak_outputs),
        )
        return ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in parts)


class Outputs:
    """The stored outputs of one run, by module, generation, branch and pass.

    Attributes:
        returned: How often outputs of each kind were returned again, over the whole run.
        peak: Most bytes held at once since the generation began.

    Args:
        schedule: Says which outputs are wanted.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.returned: Counter[Kind] = Counter()
        self.peak = 0
        self._schedule = schedule
        self._kept: dict[_Key, Kept] = {}
        self._sizes: dict[_Key, int] = {}

    @property
    def bytes(self) -> int:
        """Bytes held now; an output shared between branches counts once."""
        return sum(self._sizes.values())

    def wanted(self, kind: Kind, site: Site) -> bool:
        """Whether the output computed at `site` will be returned again, by the next step or the other branch."""
        later = replace(site, step=site.step + 1) if site.step + 1 < site.steps else None
        if later is not None and self._schedule.reuses(kind, later):
            return True
        return kind == "attention" and site.branch == "cond" and self._schedule.shares(site)

    def keep(
        self, module: str, kind: Kind, site: Site, value: Any, pairs: int = 0, form: object = None
    ) -> None:
        """Store what a module returned at `site`, if it is wanted; the older output of this branch goes either way."""
        key = _key(module, site)
        self.drop(module, site)
        if self.wanted(kind, site):
            self._kept[key] = Kept(value, site, pairs, form)
            self._sizes[key] = storage_bytes(value)
            self.peak = max(self.peak, self.bytes)

    def drop(self, module: str, site: Site) -> None:
        """Give up the output of a module in this branch and pass."""
        self._kept.pop(_key(module, site), None)
        self._sizes.pop(_key(module, site), None)

    def find(self, module: str, kind: Kind, site: Site, form: object = None) -> Kept | None:
        """What a module is to return at `site` instead of computing; None where it must compute.

        An output of an earlier step than the schedule means is not returned: a cache outside has skipped the step.
        Neither is one whose tokens lay in another way than `form`: the video has another size since.
        """
        if kind == "attention" and site.branch == "uncond" and self._schedule.shares(site):
            kept = self._kept.get(_key(module, replace(site, branch="cond")))
            fits = kept is not None and kept.site.step == site.step and kept.form == form
            return self._hand_over(module, kind, site, kept) if kept and fits else None
        if not self._schedule.reuses(kind, site):
            return None
        kept = self._kept.get(_key(module, site))
        fits = kept is not None and kept.site.step >= self._source(kind, site) and kept.form == form
        return kept if fits else None

    def give(self, module: str, kind: Kind, site: Site) -> None:
        """Note that a module returned its stored output at `site`, which goes where nobody wants it any more."""
        self.returned[kind] += 1
        if not self.wanted(kind, site):
            self.drop(module, site)

    def snapshot(self) -> Callable[[], None]:
        """Remember what is stored; the result puts it back."""
        kept, sizes = dict(self._kept), dict(self._sizes)

        def put_back() -> None:
            self._kept, self._sizes = dict(kept), dict(sizes)

        return put_back

    def clear(self, keep: Collection[int] = ()) -> None:
        """Give up the outputs of every generation but those."""
        self._kept = {key: kept for key, kept in self._kept.items() if key[1] in keep}
        self._sizes = {key: size for key, size in self._sizes.items() if key[1] in keep}
        self.peak = self.bytes

    def _hand_over(self, module: str, kind: Kind, site: Site, kept: Kept) -> Kept:
        key = _key(module, site)
        self.drop(module, site)
        if self.wanted(kind, site):
            self._kept[key], self._sizes[key] = kept, 0
        return kept

    def _source(self, kind: Kind, site: Site) -> int:
        step = site.step
        while step > 0 and self._schedule.reuses(kind, replace(site, step=step)):
            step -= 1
        return step


_Key = tuple[str, int, str, int]


def _key(module: str, site: Site) -> _Key:
    return (module, site.generation, site.branch, site.pass_number)


def storage_bytes(value: Any) -> int:
    """Bytes that keeping `value` keeps alive: whole storages, each once, also where a tensor views a part of one."""
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors_in(value)}.values()
    )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors inside nested tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))
