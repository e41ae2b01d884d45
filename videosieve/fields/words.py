"""The words of a declaration: ranges, choices, sentences; and the kinds of numbers that many fields share."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class In:
    """A range of numbers.

    Attributes:
        range: "(0, 1]", "[1, inf)", …; a square bracket holds its end, a round one does not.
        law: What must hold, read after the name of the field; empty for the range alone.
        hint: The way out; empty for none.
    """

    range: str
    law: str = ""
    hint: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends."""
        low, high = self.range[1:-1].split(",")
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words.

    Attributes:
        words: They.
        law: As for `In`.
        hint: As for `In`.
    """

    words: tuple[str, ...]
    law: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Says:
    """What a message says of a value that does not fit, or whose parts do not.

    Attributes:
        law: What must hold, read after the name of the field.
        hint: The way out; empty for none.
    """

    law: str
    hint: str = ""


Seed = Annotated[int, In("[0, 9223372036854775808)", "must be a whole number >= 0 and below 2^63")]
Count = Annotated[int, In("[1, inf)")]
Whole = Annotated[int, In("[0, inf)")]
Fraction = Annotated[float, In("[0, 1]")]
Steps = Annotated[int, In("[1, 10000]", "must be at least 1 and at most 10,000")]
Extent = Annotated[int, In("[1, 65536]", "must be at least 1 and at most 65,536")]


def nearest(word: str, known: Iterable[str]) -> str:
    """(did you mean 'x'?) for a word that is none of those known, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
