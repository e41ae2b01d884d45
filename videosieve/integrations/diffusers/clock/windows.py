"""Context windows: does a pass of a branch show what the same pass showed at the step before?

Passes of one branch are told apart by their order. Where windows move from step to step (or take turns), the order
lies; the latents do not: over one step they change less than two windows differ.
"""

from collections.abc import Hashable
from math import dist

_NEARER = 0.5
"""Another pass of the step before must be nearer than this share of the distance to the own one. Latents that are
noised anew at every step are as far from their own as from others, and prove nothing."""


class Windows:
    """Samples of the latents of every pass, of this step and the one before."""

    def __init__(self) -> None:
        self._now: dict[Hashable, list[tuple[float, ...]]] = {}
        self._before: dict[Hashable, list[tuple[float, ...]]] = {}

    def has_moved(self, branch: Hashable, number: int, sample: tuple[float, ...]) -> bool:
        """Note a pass, and say whether it shows another pass's latents.

        Args:
            branch: Whose pass.
            number: Which, from 0.
            sample: Values of its latents from the same places every time; empty says nothing.
        """
        self._now.setdefault(branch, []).append(sample)
        before = self._before.get(branch, [])
        if not sample or number >= len(before) or any(len(one) != len(sample) for one in before):
            return False
        apart = [dist(sample, one) for one in before]
        return min(apart) < _NEARER * apart[number]

    def forget_last(self, branch: Hashable) -> None:
        """The pass that was noted last has failed."""
        self._now[branch].pop()

    def next_step(self) -> None:
        """Another step begins."""
        self._before, self._now = self._now, {}
