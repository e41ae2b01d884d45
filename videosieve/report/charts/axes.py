"""Axes: round ticks, and places in percent."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis.

    Attributes:
        label: What it says.
        place: Percent of the axis, 0 at its low end.
    """

    label: str
    place: float


@dataclass(frozen=True, slots=True)
class Scale:
    """An interval that an axis shows; low < high."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent of the axis where a value lies; values outside lie on its ends."""
        inside = min(max(value, self.low), self.high)
        return round(100 * (inside - self.low) / (self.high - self.low), 2)

    def ticks(self) -> list[Tick]:
        """Three to six round ticks."""
        return [Tick(f"{value:g}", self.place(value)) for value in ticks(self.low, self.high)]

    @classmethod
    def around(cls, values: list[float], least: float = 0.0, floor: float | None = None) -> "Scale":
        """The round interval that holds values.

        Args:
            values: At least one.
            least: The least width of the interval.
            floor: The interval does not reach below it.

        Returns:
            A scale whose ends are ticks.
        """
        low, high = min(values), max(values)
        margin = max((least - (high - low)) / 2, (high - low) * 0.04, 1e-6)
        marks = ticks(low - margin, high + margin)
        step = marks[1] - marks[0] if len(marks) > 1 else 2 * margin
        low, high = step * math.floor((low - margin) / step), step * math.ceil((high + margin) / step)
        return cls(round(low if floor is None else max(low, floor), 10), round(high, 10))


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that cover an interval."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def counted(count: int, most: int = 5) -> list[Tick]:
    """Ticks of an axis of numbered frames or steps, from 0; each has a cell of equal width and stands in its middle.

    Args:
        count: Cells.
        most: Ticks at most.

    Returns:
        The first, the last and round numbers between them.
    """
    if count <= most:
        shown = list(range(count))
    else:
        step = next(width for width in (2, 5, 10, 20, 25, 50, 100, 250, 1000, count) if count / width <= most)
        inner = [number for number in range(step, count - 1, step) if count - 1 - number >= step * 0.6]
        shown = [0, *inner, count - 1]
    return [Tick(str(number), cell_middle(number, count)) for number in shown]


def cell_middle(index: int, count: int) -> float:
    """Percent of the axis where the middle of a cell lies."""
    return round(100 * (index + 0.5) / count, 2)
