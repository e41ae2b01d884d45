"""Lines over frames or steps, with a cursor that the page's script moves."""

from dataclasses import dataclass, field
from itertools import groupby

from videosieve.report.charts.axes import Scale, Tick, cell_middle, counted

DASHES = ("", "6 6", "1 5", "9 5 1 5", "3 6")
"""SVG dash patterns, in order of use: lines differ in more than their colour."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Attributes:
        name: Its label.
        values: One value per frame or step; None where there is none.
        colour: A CSS colour.
        dash: SVG dash pattern; empty for a solid line.
        overall: The value of the whole, shown while no frame or step is chosen.
    """

    name: str
    values: list[float | None]
    colour: str
    dash: str = ""
    overall: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn: an SVG path in a box of 100 × 100, and its values as words."""

    name: str
    colour: str
    dash: str
    path: str
    words: list[str]
    overall: str
    summary: str


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded stretch of the x axis; left and width in percent, strength in (0, 1]."""

    left: float
    width: float
    strength: float


@dataclass(frozen=True, slots=True)
class LineChart:
    """A chart for the template.

    Attributes:
        axis: What the x axis counts, "frame" or "step"; the script moves the cursors of one kind together.
        count: Frames or steps.
        unit: Of the values; empty for a fraction.
        lines: What is drawn.
        x_ticks: Along the x axis.
        y_ticks: Along the y axis.
        bands: Behind the lines.
    """

    axis: str
    count: int
    unit: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bands: list[Band] = field(default_factory=list)


def line_chart(
    series: list[Series],
    axis: str,
    scale: Scale,
    digits: int = 2,
    unit: str = "",
    shaded: list[float] | None = None,
    count: int | None = None,
) -> LineChart:
    """Lay out a line chart.

    Args:
        series: Lines, all of one length.
        axis: What the x axis counts, "frame" or "step".
        scale: The y axis.
        digits: Decimals of the values.
        unit: Of the values.
        shaded: How strongly each frame or step is shaded, in [0, 1].
        count: Frames or steps; None takes those of the longest line.

    Returns:
        The chart.
    """
    count = max(len(line.values) for line in series) if count is None else count
    return LineChart(
        axis=axis,
        count=count,
        unit=unit,
        lines=[_line(line, count, scale, digits) for line in series],
        x_ticks=counted(count),
        y_ticks=scale.ticks(),
        bands=_bands(shaded or []),
    )


def _line(series: Series, count: int, scale: Scale, digits: int) -> Line:
    words = ["–" if value is None else f"{value:.{digits}f}" for value in series.values]
    known = [value for value in series.values if value is not None]
    summary = f"{series.name}: {min(known):.{digits}f} to {max(known):.{digits}f}" if known else series.name
    overall = "" if series.overall is None else f"{series.overall:.{digits}f}"
    path = _path(series.values, count, scale)
    return Line(series.name, series.colour, series.dash, path, words, overall, summary)


def _path(values: list[float | None], count: int, scale: Scale) -> str:
    """One stroke per run of known values; a lone value becomes a dot (a stroke of no length with round ends)."""
    parts: list[str] = []
    for known, run in groupby(enumerate(values), key=lambda pair: pair[1] is not None):
        if not known:
            continue
        points = [
            f"{cell_middle(index, count):g} {round(100 - scale.place(value), 2):g}"
            for index, value in run
            if value is not None
        ]
        parts.append(f"M{points[0]}" + (f"L{' '.join(points[1:])}" if points[1:] else "h0"))
    return "".join(parts)


def _bands(shaded: list[float]) -> list[Band]:
    bands, count = [], len(shaded)
    for strength, run in groupby(range(count), key=lambda index: shaded[index]):
        cells = list(run)
        if strength > 0:
            left, width = 100 * cells[0] / count, 100 * len(cells) / count
            bands.append(Band(round(left, 2), round(width, 2), round(strength, 2)))
    return bands
