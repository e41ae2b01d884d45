"""Stacked bars: where the time goes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of a bar.

    Attributes:
        kind: A CSS class.
        name: What the time went into.
        seconds: How long.
        width: Percent of the longest bar.
    """

    kind: str
    name: str
    seconds: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a method and its parts, in seconds."""

    name: str
    colour: str
    parts: list[Part]
    total: float


def time_bars(rows: list[tuple[str, str, list[tuple[str, str, float]]]]) -> list[Bar]:
    """Lay out stacked bars.

    Args:
        rows: Name, CSS colour and (class, name, seconds) of the parts of every bar.

    Returns:
        The bars; parts without any time are left out.
    """
    longest = max((sum(part[2] for part in parts) for _, _, parts in rows), default=0.0) or 1.0
    return [
        Bar(
            name,
            colour,
            [
                Part(kind, label, seconds, round(100 * seconds / longest, 3))
                for kind, label, seconds in parts
                if seconds > 0
            ],
            sum(part[2] for part in parts),
        )
        for name, colour, parts in rows
    ]
