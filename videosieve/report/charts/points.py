"""Points and lines over two axes of numbers, each with its name beside it and not in a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from videosieve.report.charts.axes import Scale, Tick
from videosieve.report.charts.labels import Box, place_labels

LINE_STEPS = 24  # boxes along a line that labels keep away from


@dataclass(frozen=True, slots=True)
class Point:
    """A measurement.

    Attributes:
        x: Across.
        y: Up.
        colour: A CSS colour.
        label: Beside it; empty for none.
        title: What is said of it when pointed at.
        shape: "dot", "ring" or "diamond".
    """

    x: float
    y: float
    colour: str
    label: str = ""
    title: str = ""
    shape: str = "dot"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points (x, y)."""

    points: list[tuple[float, float]]
    colour: str
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    """A dashed line across the whole plot, with its name; upright at an x, else level at a y.

    Attributes:
        value: Where.
        name: Beside it.
        upright: Stands at an x.
    """

    value: float
    name: str
    upright: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A point as it is drawn, in percent of the plot, y from the top."""

    of: Point
    x: float
    y: float
    label_y: float
    label_left: bool


@dataclass(frozen=True, slots=True)
class PointsChart:
    """A chart for the template; guides carry their place in percent, from the left or from the top."""

    spots: list[Spot]
    paths: list[tuple[Curve, str]]
    guides: list[tuple[Guide, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    x_name: str


def points_chart(
    points: list[Point], x: Scale, y: Scale, x_name: str, *, curves: Sequence[Curve] = (), guides: Sequence[Guide] = ()
) -> PointsChart:  # fmt: skip
    """Lay out a chart.

    Args:
        points: What was measured.
        x: The axis across.
        y: The axis upwards.
        x_name: What is across, with its unit.
        curves: Lines, behind the points.
        guides: Lines across the plot.

    Returns:
        The chart.
    """
    placed = [(x.place(point.x), 100 - y.place(point.y)) for point in points]
    drawn = [[(x.place(a), 100 - y.place(b)) for a, b in curve.points] for curve in curves]
    lines = [
        (guide, x.place(guide.value) if guide.upright else 100 - y.place(guide.value)) for guide in guides
    ]
    taken = [box for line in drawn for box in _along(line)]
    taken += [_guide_box(guide, place) for guide, place in lines]
    names = [(point.label, *place) for point, place in zip(points, placed, strict=True)]
    labels = place_labels(names, taken)
    return PointsChart(
        [
            Spot(point, *place, *label)
            for point, place, label in zip(points, placed, labels, strict=True)
        ],
        [(curve, _path(line)) for curve, line in zip(curves, drawn, strict=True)],
        lines,
        x.ticks(),
        y.ticks(),
        x_name,
    )  # fmt: skip


def _path(line: list[tuple[float, float]]) -> str:
    words = [f"{round(x, 2):g} {round(y, 2):g}" for x, y in line]
    return f"M{words[0]}" + (f"L{' '.join(words[1:])}" if words[1:] else "h0") if words else ""


def _along(line: list[tuple[float, float]]) -> list[Box]:
    """Small boxes along a line."""
    boxes: list[Box] = []
    for (x0, y0), (x1, y1) in pairwise(line):
        for part in range(LINE_STEPS):
            share = part / LINE_STEPS
            x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
            boxes.append((x - 0.7, x + 0.7, y - 0.7, y + 0.7))
    return boxes


def _guide_box(guide: Guide, place: float) -> Box:
    return (place - 0.5, place + 0.5, 0.0, 100.0) if guide.upright else (0.0, 100.0, place - 0.5, place + 0.5)
