"""Labels beside points and lines: each takes the nearest place that is free of points, lines and other labels."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, right, top and bottom, in percent of the plot, from its upper left corner."""

# percent of a plot on a phone, so that labels keep apart on wider ones too
LETTER, HEIGHT, DOT = 2.8, 6.0, 2.5
SHIFTS = (0.0, -6.0, 6.0, -12.0, 12.0, -18.0, 18.0)  # where a label may go, the nearest first
FAR = 0.6  # cost of a percent away from the point, in square percent hidden: a thin line may cross a label that is near
ASTRAY = 15.0  # what standing beside another point costs
EDGE, ABOVE = (
    2.0,
    7.0,
)  # between the edge of the plot and the label of a line; its height with what lies between both


def place_labels(points: list[tuple[str, float, float]], taken: list[Box]) -> list[tuple[float, bool]]:
    """Find a place for the label of every point, right before left; the uppermost point first.

    Args:
        points: Label, x and y in percent, y from the top; an empty label is a point without one.
        taken: Where no label may stand; the points themselves are added.

    Returns:
        For every point, in order, the middle of its label from the top, and whether it stands left of the point.
    """
    taken = [*(point_box(x, y) for _, x, y in points), *taken]
    found: dict[int, tuple[float, bool]] = {}
    for index in sorted(range(len(points)), key=lambda index: points[index][2]):
        name, x, y = points[index]
        found[index] = (y, False)
        if not name:
            continue
        others = [other_y for _, other_x, other_y in points if abs(other_x - x) <= 2 * DOT]
        costs = {
            (y + by, left): FAR * abs(by)
            + ASTRAY * any(abs(y + by - other) + DOT < abs(by) for other in others)
            + clash(label_box(name, x, y + by, left), taken)
            for by in SHIFTS
            for left in (False, True)
        }
        found[index] = min(costs, key=lambda place: costs[place])
        taken.append(label_box(name, x, *found[index]))
    return [found[index] for index in range(len(points))]


def place_beside(line: float, letters: int, taken: Sequence[Box]) -> tuple[bool, bool, list[Box]]:
    """Find the place of the label of a level line where it hides least; above it and at its left end before others.

    Args:
        line: Percent from the top.
        letters: Of the label.
        taken: What should not be hidden.

    Returns:
        Whether the label stands below the line, whether at its right end, and what label and line cover.
    """
    width = LETTER * letters + EDGE
    across = {False: (0.0, width), True: (100 - width, 100.0)}
    upright = {False: (line - ABOVE, line), True: (line, line + ABOVE)}
    inside = [
        low for low, (top, bottom) in upright.items() if top >= 0 and bottom <= 100
    ]  # above it stand other names
    options = [(low, right, (*across[right], *upright[low])) for right in across for low in inside]
    low, right, label = min(options, key=lambda option: clash(option[2], taken))
    return low, right, [label, (0.0, 100.0, line - 0.5, line + 0.5)]


def point_box(x: float, y: float) -> Box:
    """What a dot covers."""
    return (x - DOT, x + DOT, y - DOT, y + DOT)


def label_box(name: str, x: float, y: float, left: bool) -> Box:
    """What a label beside a dot covers.

    Args:
        name: The label.
        x: Of the dot.
        y: Middle of the label.
        left: It ends at the dot instead of beginning there.
    """
    width, near = LETTER * len(name), DOT + 0.1
    ends = (x - near - width, x - near) if left else (x + near, x + near + width)
    return (*ends, y - HEIGHT / 2, y + HEIGHT / 2)


def clash(box: Box, taken: Sequence[Box]) -> float:
    """Overlap of a box with others and with what lies outside the plot."""
    area = 0.0
    for left, right, top, bottom in taken:
        across = max(0.0, min(box[1], right) - max(box[0], left))
        area += across * max(0.0, min(box[3], bottom) - max(box[2], top))
    outside = max(0.0, -box[0]) + max(0.0, box[1] - 100) + max(0.0, -box[2]) + max(0.0, box[3] - 104)
    return area + 10 * outside
