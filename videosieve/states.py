"""What methods remember between calls, filed under the identity of the forward and the batch items it is about.

A state is handed back only to the same transformer, generation, layer, branch and pass, for the same items of the batch
and as many of them. Where any of these differs the method starts afresh: another prompt's memory is worse than none.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from videosieve.forward import Site
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

    def get(self, place: Place) -> State:
        """What was put there last; None at first."""
        return self._kept.get(place)

    def put(self, place: Place, state: State) -> None:
        """Remember a state."""
        self._kept[place] = state

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
        kept = dict(self._kept)

        def put_back() -> None:
            self._kept = dict(kept)

        return put_back
