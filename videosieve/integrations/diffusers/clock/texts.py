"""Which branch a forward is of, where nobody names it: the order of the calls says so, and the text they are about.

The order alone lies where guidance is off at some steps: whoever asks for the unconditional prediction first then asks
for the conditional one first. What a text was called when it came first, it is called ever after.
"""

from collections.abc import Hashable, Sequence
from math import dist, hypot

Sample = tuple[float, ...]
"""A few numbers of a tensor, always from the same places."""

_SAME = 1e-4
"""Samples of one text differ by less than this share of their length, where an encoder has run anew."""


class Texts:
    """Samples of the texts of one generation, and the branches that they were taken for."""

    def __init__(self) -> None:
        self._known: list[Sample] = []
        self._names: dict[tuple[int, int], str] = {}
        self._now: dict[Hashable, list[int]] = {}

    def known(self, part: Hashable, text: Sample) -> str | None:
        """The branch of a forward about this text, where one as often in its step has been named; else None.

        Args:
            part: Whose forward.
            text: A sample of it; empty says nothing.
        """
        return self._names.get(self._key(part, text))

    def branch(self, part: Hashable, text: Sample, branches: Sequence[str], called: int) -> str:
        """The branch of a forward that nobody names.

        Args:
            part: Whose forward.
            text: A sample of it; empty says nothing.
            branches: Names in the usual order of the calls.
            called: Forwards of the part in this step so far.
        """
        known = self.known(part, text)
        if known is not None:
            return known
        usual, taken = branches[called % len(branches)], self._names.values()
        again = self._key(part, text)[1] > 0
        free = [name for name in branches if name not in taken]
        return free[0] if text and free and usual in taken and not again else usual

    def note(self, part: Hashable, text: Sample, branch: str) -> None:
        """A forward about this text is taken for one of that branch."""
        key = self._key(part, text)
        if key[0] == len(self._known):
            self._known.append(text)
        if text:
            self._names.setdefault(key, branch)
        self._now.setdefault(part, []).append(key[0])

    def forget_last(self, part: Hashable) -> None:
        """The forward that was noted last has failed."""
        self._now[part].pop()

    def next_step(self) -> None:
        """Another step begins."""
        self._now = {}

    def _key(self, part: Hashable, text: Sample) -> tuple[int, int]:
        """Which text, and how often this step has had it before."""
        number = next((n for n, one in enumerate(self._known) if _is_same(one, text)), len(self._known))
        return number, self._now.get(part, []).count(number)


def _is_same(one: Sample, other: Sample) -> bool:
    return len(one) == len(other) and dist(one, other) <= _SAME * hypot(*one)
