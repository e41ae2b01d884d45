"""Points and lines over two axes of numbers, each with its name beside it and not in a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from videosieve.report.charts.axes import Scale, Tick
from videosieve.report.charts.labels import Box, place_beside, place_labels, point_box

LINE_STEP = 2.0  # percent between the boxes along a line that labels keep away from


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
class GuideLine:
    """A guide as it is drawn.

    Attributes:
        of: The guide.
        place: Percent from the left where it is upright, else from the top.
        low: The name of a level one stands below it.
        ended: The name of a level one stands at its right end; that of an upright one ends there.
    """

    of: Guide
    place: float
    low: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class PointsChart:
    """A chart for the template."""

    spots: list[Spot]
    paths: list[tuple[Curve, str]]
    guides: list[GuideLine]
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
    taken = [box for line in drawn for box in _along(line)]
    lines, words = _guide_lines(guides, x, y, [*taken, *(point_box(*place) for place in placed)])
    taken += words
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
    """Small boxes along a line, as many as it is long."""
    boxes: list[Box] = []
    for (x0, y0), (x1, y1) in pairwise(line):
        parts = max(1, round(hypot(x1 - x0, y1 - y0) / LINE_STEP))
        for part in range(parts):
            share = part / parts
            x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
            boxes.append((x - 0.7, x + 0.7, y - 0.7, y + 0.7))
    return boxes


def _guide_lines(
    guides: Sequence[Guide], x: Scale, y: Scale, taken: Sequence[Box]
) -> tuple[list[GuideLine], list[Box]]:
    """Guides with the places of their names, and what they cover; names of upright ones stand above the plot."""
    lines: list[GuideLine] = []
    boxes: list[Box] = []
    for guide in guides:
        if guide.upright:
            place = x.place(guide.value)
            lines.append(GuideLine(guide, place, False, place > 50))
            boxes.append((place - 0.5, place + 0.5, 0.0, 100.0))
        else:
            place = 100 - y.place(guide.value)
            low, ended, covered = place_beside(place, len(guide.name), [*taken, *boxes])
            lines.append(GuideLine(guide, place, low, ended))
            boxes += covered
    return lines, boxes
