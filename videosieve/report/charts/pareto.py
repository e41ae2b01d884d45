"""Speed-up against fidelity: where every method lies, how far its speed-up could have gone, and the noise floor."""

from dataclasses import dataclass, replace

from videosieve.report.charts.axes import Scale, Tick

# percent of the plot: width of a letter, height of a label, radius of a dot
LETTER, LABEL_HEIGHT, DOT = 2.8, 7.0, 2.5
LABEL_SHIFTS = (0.0, -7.0, 7.0, -14.0, 14.0, -21.0, 21.0)  # where a label may go, the nearest first
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
    return ParetoChart(
        places=_labelled([_place(c, contenders, x, y) for c in contenders]),
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        unity=x.place(1.0),
        limit=x.place(limit) if limit and shown_limit else None,
        limit_value=limit,
        floor=None if floor is None else 100 - y.place(floor),
        floor_value=floor,
        floor_above=floor is not None and floor > y.high,
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


def _labelled(places: list[Place]) -> list[Place]:
    """Give every label the nearest place beside its dot that is free of dots, lines and labels, right before left."""
    taken = [(p.x - DOT, p.x + DOT, p.y - DOT, p.y + DOT) for p in places]
    taken += [_line(p) for p in places if p.bound_x is not None]
    done = []
    for place in sorted(places, key=lambda place: place.y):
        tries = [
            replace(place, label_y=place.y + by, label_left=left)
            for by in LABEL_SHIFTS
            for left in (False, True)
        ]
        best = min(tries, key=lambda option: _clash(_box(option), taken))
        taken.append(_box(best))
        done.append(best)
    return done


def _line(place: Place) -> "_Box":
    """The dotted line from a dot to its bound, with the mark at its end."""
    ends = sorted((place.x, place.x if place.bound_x is None else place.bound_x))
    return (ends[0], ends[1] + 0.5, place.y - DOT, place.y + DOT)


_Box = tuple[float, float, float, float]


def _box(place: Place) -> _Box:
    """Left, right, top and bottom of a label."""
    width, near = LETTER * len(place.of.name), DOT + 0.1
    ends = (
        (place.x - near - width, place.x - near)
        if place.label_left
        else (place.x + near, place.x + near + width)
    )
    return (*ends, place.label_y - LABEL_HEIGHT / 2, place.label_y + LABEL_HEIGHT / 2)


def _clash(box: _Box, taken: list[_Box]) -> float:
    """Overlap of a box with others and with what lies outside the plot."""
    area = 0.0
    for left, right, top, bottom in taken:
        area += max(0.0, min(box[1], right) - max(box[0], left)) * max(
            0.0, min(box[3], bottom) - max(box[2], top)
        )
    outside = max(0.0, -box[0]) + max(0.0, box[1] - 100) + max(0.0, -box[2]) + max(0.0, box[3] - 104)
    return area + 10 * outside
