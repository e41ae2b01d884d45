"""Kinds of parameters that methods share, declared once: shares, block sides, tiles, rows, tables of heads."""

from typing import Annotated

from videosieve.fields import Count, In, Says

Side = Annotated[
    int, In("[1, 65536]", "is a side in whole tokens, at most 65,536 and at least 1", "None chooses it")
]
Block = Side | None
Tile = Annotated[
    tuple[Count, Count, Count],
    Says("has three sides (frames, rows, columns) in whole tokens, at least 1 each", "None chooses it"),
]
Window = Annotated[
    tuple[Count, Count, Count], Says("is three numbers of tiles (frames, rows, columns), at least 1 each")
]
Rounds = Annotated[int, In("[1, 1000]", "must be a whole number >= 1, at most 1,000")]
ByHead = Says("is a list with one list per layer, one entry per head")


def share(meaning: str, hint: str = "") -> In:
    """The range of a share in (0, 1], for `Annotated[float, share("the share of pairs to keep")]`."""
    return In("(0, 1]", f"is {meaning} and must lie in (0, 1]", hint)
