"""Speed-up against fidelity: where every method lies, how far its speed-up could have gone, and the noise floor."""

from dataclasses import dataclass, replace

from videosieve.report.charts.axes import Scale, Tick
from videosieve.report.charts.labels import Box, place_beside, place_labels, point_box

LEAST_SPEEDUPS = 0.2  # width of the speed-up axis, so that differences of a percent do not fill the plot
FAR_LIMIT = 1.6  # a limit beyond this multiple of all points is only named


@dataclass(frozen=True, slots=True)
class Contender:
    """A method in the race.

    Attributes:
        name: Its label.
        colour: A CSS colour.
        speedup: Dense seconds ÷ its seconds.
        value: Its fidelity; more is better.
        bound: The most its run density allows (Amdahl); None if unknown or where nothing is left out.
        speedup_interval: Of the speed-up; None with too few videos.
        value_interval: Of the value; None with too few videos.
    """

    name: str
    colour: str
    speedup: float
    value: float
    bound: float | None = None
    speedup_interval: tuple[float, float] | None = None
    value_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A contender as it is drawn; all places are percent of the plot, y from the top.

    Attributes:
        of: The contender.
        x: Of the dot.
        y: Of the dot.
        bound_x: Where its bound lies.
        beaten: Another one is at least as fast and at least as good.
        label_y: Of its label.
        label_left: The label stands left of the dot.
        x_span: Ends of its speed-up interval.
        y_span: Ends of its value interval, the upper one first.
    """

    of: Contender
    x: float
    y: float
    bound_x: float | None
    beaten: bool
    label_y: float
    label_left: bool
    x_span: tuple[float, float] | None
    y_span: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ParetoChart:
    """A chart for the template.

    Attributes:
        places: The contenders.
        x_ticks: Speed-ups.
        y_ticks: Fidelity.
        unity: Where a speed-up of 1 lies, percent.
        limit: Where a method without any attention would end, percent; None if beyond the plot.
        limit_value: Its speed-up.
        floor: Where the noise floor lies, percent from the top; None if unknown.
        floor_value: Its value.
        floor_above: It lies above the plot and is drawn at its edge.
        floor_low: Its label stands below its line.
        floor_right: Its label stands at the right end of its line.
    """

    places: list[Place]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    unity: float
    limit: float | None
    limit_value: float | None
    floor: float | None
    floor_value: float | None
    floor_above: bool
    floor_low: bool = False
    floor_right: bool = False


def pareto_chart(
    contenders: list[Contender], limit: float | None, floor: float | None, value_scale: Scale | None = None
) -> ParetoChart:
    """Lay out the plot.

    Args:
        contenders: At least one.
        limit: The speed-up that attention of no cost would give (Amdahl); None if unknown.
        floor: The value of dense attention against itself with another kernel; None if unknown.
        value_scale: The y axis; None chooses one that holds the values.

    Returns:
        The chart.
    """
    reach = [1.0, *(c.speedup for c in contenders), *(c.bound for c in contenders if c.bound)]
    reach += [end for c in contenders for end in c.speedup_interval or ()]
    shown_limit = limit is not None and limit <= FAR_LIMIT * max(reach)
    x = Scale.around([*reach, *([limit] if limit and shown_limit else [])], LEAST_SPEEDUPS, 0.0)
    values = [c.value for c in contenders]
    values += [end for c in contenders for end in c.value_interval or ()]
    near = floor is not None and floor <= max(values) + max(max(values) - min(values), 5.0)
    y = value_scale or Scale.around([*values, *([floor] if floor and near else [])], 4.0, 0.0)
    places = [_place(c, contenders, x, y) for c in contenders]
    line = None if floor is None else 100 - y.place(floor)
    low, right, words = (False, False, []) if line is None else _beside(line, places)
    return ParetoChart(
        places=_labelled(places, words),
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        unity=x.place(1.0),
        limit=x.place(limit) if limit and shown_limit else None,
        limit_value=limit,
        floor=line,
        floor_value=floor,
        floor_above=floor is not None and floor > y.high,
        floor_low=low,
        floor_right=right,
    )


def _place(contender: Contender, others: list[Contender], x: Scale, y: Scale) -> Place:
    across, up = x.place(contender.speedup), 100 - y.place(contender.value)
    speed, value = contender.speedup_interval, contender.value_interval
    return Place(
        of=contender,
        x=across,
        y=up,
        bound_x=x.place(contender.bound) if contender.bound else None,
        beaten=any(_beats(other, contender) for other in others),
        label_y=up,
        label_left=False,
        x_span=(x.place(speed[0]), x.place(speed[1])) if speed else None,
        y_span=(100 - y.place(value[1]), 100 - y.place(value[0])) if value else None,
    )


def _beats(one: Contender, other: Contender) -> bool:
    as_good = one.speedup >= other.speedup and one.value >= other.value
    return as_good and (one.speedup, one.value) != (other.speedup, other.value)


FLOOR_LABEL = 24  # letters of "noise floor 12.3 dB", and some more


def _beside(line: float, places: list[Place]) -> tuple[bool, bool, list[Box]]:
    """Where the label of the noise floor hides least."""
    return place_beside(line, FLOOR_LABEL, [box for place in places for box in _boxes(place)])


def _labelled(places: list[Place], taken: list[Box]) -> list[Place]:
    """Give every label the nearest place beside its dot that is free of dots, lines and labels."""
    lines = [box for place in places for box in _boxes(place)]
    found = place_labels([(place.of.name, place.x, place.y) for place in places], [*lines, *taken])
    return [replace(p, label_y=at, label_left=left) for p, (at, left) in zip(places, found, strict=True)]


def _boxes(place: Place) -> list[Box]:
    """What a dot covers, the dotted line to its bound with the mark at its end, and its whiskers."""
    boxes = [point_box(place.x, place.y)]
    if place.bound_x is not None and place.bound_x > place.x:  # else no line is drawn
        boxes.append((place.x, place.bound_x + 0.5, place.y - 2.5, place.y + 2.5))
    if place.x_span:
        boxes.append((*place.x_span, place.y - 0.5, place.y + 0.5))
    if place.y_span:
        boxes.append((place.x - 0.5, place.x + 0.5, *place.y_span))
    return boxes
