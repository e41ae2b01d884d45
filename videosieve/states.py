"""What methods remember between calls, filed under the identity of the forward and the batch items it is about.

A state is handed back only to the same transformer, generation, layer, branch and pass, for the same items of the batch
and as many of them, and for a video of the same size and dtype, which some pipelines change between steps. Where any of
these differs the method starts afresh: another prompt's memory is worse than none.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.methods.base import State


@dataclass(frozen=True, slots=True)
class Place:
    """Where a state belongs.

    Attributes:
        owner: The transformer.
        generation: As in `Site`.
        layer: As in `Site`.
        branch: As in `Site`.
        pass_number: As in `Site`.
        items: As in `Site`.
        batch: Batch elements of the call; 0 for methods that fit their state to any batch.
    """

    owner: str
    generation: int
    layer: int
    branch: str
    pass_number: int
    items: tuple[int, ...]
    batch: int

    @classmethod
    def of(cls, owner: str, site: Site, batch: int, shared: bool) -> "Place":
        """The place of one call.

        Args:
            owner: The transformer.
            site: Of the call.
            batch: Of the call.
            shared: Whether the method's `shares_state` is set: one branch's state then fits a batch with both.
        """
        branch = "cond" if shared and site.branch == "cond_uncond" else site.branch
        return cls(
            owner, site.generation, site.layer, branch, site.pass_number, site.items, 0 if shared else batch
        )

    @property
    def label(self) -> str:
        """The branch, with pass and items where there are several."""
        return Site(branch=self.branch, pass_number=self.pass_number, items=self.items).label


class States:
    """The method states of one run."""

    def __init__(self) -> None:
        self._kept: dict[Place, State] = {}
        self._about: dict[Place, tuple[VideoLayout, torch.dtype]] = {}

    def get(self, place: Place, call: AttentionCall) -> State:
        """What was put there last, for a call like this; None at first, and where it is about another layout or dtype.

        Sequences without a grid grow from call to call, and a method that remembers something of them knows it.
        """
        layout, dtype = self._about.get(place, (call.layout, call.q.dtype))
        fits = dtype == call.q.dtype and (layout == call.layout or call.layout.is_sequence)
        return self._kept.get(place) if fits else None

    def put(self, place: Place, state: State, call: AttentionCall) -> None:
        """Remember a state, made for a call like this."""
        self._kept[place], self._about[place] = state, (call.layout, call.q.dtype)

    def share(self, source: Place, place: Place) -> None:
        """Remember in one place what is remembered in another, if anything is."""
        if self._kept.get(source) is not None:
            self._kept[place], self._about[place] = self._kept[source], self._about[source]

    def why_afresh(self, place: Place, call: AttentionCall) -> str:
        """A sentence where what is remembered is about another number of items, layout or dtype, else empty."""
        if self.has_neighbour(place):
            return f"chosen afresh: what is remembered of {place.label} is not about {call.batch} items of the batch"
        if self._kept.get(place) is None or self.get(place, call) is not None:
            return ""
        known, here = (_in_words(*about) for about in (self._about[place], (call.layout, call.q.dtype)))
        return (
            f"chosen afresh: what is remembered of {place.label} is about {known}, and this call has {here}"
        )

    def has_neighbour(self, place: Place) -> bool:
        """Whether something is remembered that differs from `place` only in how many items of the batch it is about."""
        return any(
            state is not None
            and other != place
            and (other.owner, other.generation, other.layer, other.branch, other.pass_number, other.items)
            == (place.owner, place.generation, place.layer, place.branch, place.pass_number, place.items)
            for other, state in self._kept.items()
        )

    def forget(self, keep: Collection[int] = ()) -> None:
        """Forget every generation but those."""
        self._kept = {place: state for place, state in self._kept.items() if place.generation in keep}
        self._about = {place: self._about[place] for place in self._kept}

    @property
    def holds_any(self) -> bool:
        """Whether a method has anything to remember."""
        return any(state is not None for state in self._kept.values())

    def values(self) -> list[State]:
        """All states."""
        return list(self._kept.values())

    def of_newest(self) -> dict[tuple[str, int, str], State]:
        """The states of the newest generation by (owner, layer, branch); a further pass, or some items of the batch,
        say so behind the name of the branch."""
        newest = max((place.generation for place in self._kept), default=0)
        found: dict[tuple[str, int, str], State] = {}
        for place, state in self._kept.items():
            if place.generation == newest:
                key = (place.owner, place.layer, place.label)
                found[(*key[:2], f"{key[2]}, {place.batch} items") if key in found else key] = state
        return found

    def snapshot(self) -> Callable[[], None]:
        """Remember all; the result puts it back."""
        kept, about = dict(self._kept), dict(self._about)

        def put_back() -> None:
            self._kept, self._about = dict(kept), dict(about)

        return put_back


def _in_words(layout: VideoLayout, dtype: torch.dtype) -> str:
    tokens = f"{layout.tokens} tokens of {dtype}".replace("torch.", "")
    return tokens if layout.is_sequence else f"a video of {layout.grid} in {tokens}"
