"""A picture of things that stand on one another: layers from top to bottom, lines only downwards.

The layers are the longest ways down; lines that pass a layer get a place in it, so that they run between boxes.
Sugiyama, Tagawa and Toda, 1981: order by the mean place of the neighbours, there and back.
"""

from collections.abc import Mapping
from html import escape
from itertools import pairwise

Place = tuple[str, str] | str  # a box, or where the line from the first to the second passes

HEIGHT, GAP, STRIDE, MARGIN = 26, 16, 62, 14
LETTER = 7.3  # width of a letter at 12 px
STYLE = (
    "text{font:12px ui-monospace,monospace;text-anchor:middle;fill:#1b2a2f}"
    "rect{fill:#e6f2f0;stroke:#0a7d74}.file rect{fill:#fff;stroke:#9aa7ab}"
    "path{fill:none;stroke:#0a7d74;stroke-opacity:.45}"
)


def layers_of(edges: Mapping[str, set[str]]) -> dict[str, int]:
    """How far above the ground each box stands: one more than the highest that it stands on."""
    level: dict[str, int] = {}
    while len(level) < len(edges):
        ready = [box for box in edges if box not in level and all(below in level for below in edges[box])]
        if not ready:
            raise ValueError(f"boxes stand on one another in a circle: {sorted(set(edges) - set(level))}")
        level |= {box: 1 + max((level[below] for below in edges[box]), default=-1) for box in ready}
    return level


def draw(edges: Mapping[str, set[str]], bold: set[str]) -> str:
    """The picture.

    Args:
        edges: Every box, and the boxes that a line goes down to.
        bold: Boxes to stand out.

    Returns:
        SVG; the same for the same arguments.
    """
    level = layers_of(edges)
    rows, lines = _with_passages(edges, level)
    _order(rows, lines)
    x = _places(rows, lines)
    left = min(x[place] - _width(place) / 2 for row in rows for place in row) - MARGIN
    right = max(x[place] + _width(place) / 2 for row in rows for place in row) + MARGIN
    height = 2 * MARGIN + HEIGHT + (len(rows) - 1) * STRIDE
    top = {index: MARGIN + (len(rows) - 1 - index) * STRIDE for index in range(len(rows))}
    row_of = {place: index for index, row in enumerate(rows) for place in row}
    parts = [_line(x, top, row_of, way, left) for way in sorted(lines, key=str)]
    for box in sorted(edges):
        width, y = _width(box), top[level[box]]
        kind = "" if box in bold else ' class="file"'
        parts.append(
            f'<g{kind}><rect x="{x[box] - width / 2 - left:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="4"/>'
            f'<text x="{x[box] - left:.0f}" y="{y + 17}">{escape(box)}</text></g>'
        )
    size = f'width="{right - left:.0f}" height="{height}" viewBox="0 0 {right - left:.0f} {height}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><title>Rooms and imports</title><style>{STYLE}</style>'
    return "\n".join(
        [start, '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>', *parts, "</svg>\n"]
    )


def _with_passages(
    edges: Mapping[str, set[str]], level: Mapping[str, int]
) -> tuple[list[list[Place]], list[tuple[Place, ...]]]:
    """Rows from the ground up, boxes and passages; and every line as its places from top to bottom."""
    rows: list[list[Place]] = [[] for _ in range(1 + max(level.values()))]
    for box in sorted(edges):
        rows[level[box]].append(box)
    lines: list[tuple[Place, ...]] = []
    for box in sorted(edges):
        for below in sorted(edges[box]):
            passed: list[Place] = []
            for between in range(level[box] - 1, level[below], -1):
                passed.append((f"{between} {box}", below))
                rows[between].append(passed[-1])
            lines.append((box, *passed, below))
    return rows, lines


def _neighbours(lines: list[tuple[Place, ...]]) -> tuple[dict[Place, list[Place]], dict[Place, list[Place]]]:
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for line in lines:
        for upper, lower in pairwise(line):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    return above, below


def _order(rows: list[list[Place]], lines: list[tuple[Place, ...]], rounds: int = 24) -> None:
    above, below = _neighbours(lines)
    for count in range(rounds):
        upwards = count % 2 == 0
        for row in rows if upwards else reversed(rows):
            rank = {
                place: index / max(len(other) - 1, 1) for other in rows for index, place in enumerate(other)
            }
            near = below if upwards else above
            row.sort(key=lambda place: _mean([rank[n] for n in near.get(place, [])], rank[place]))


def _places(rows: list[list[Place]], lines: list[tuple[Place, ...]], rounds: int = 40) -> dict[Place, float]:
    """The middle of every place: near its neighbours, and apart from those of its row."""
    above, below = _neighbours(lines)
    x: dict[Place, float] = {}
    for row in rows:
        _push_apart(row, x | dict.fromkeys(row, 0.0), x)
    for count in range(rounds):
        for row in rows if count % 2 else reversed(rows):
            wanted = {p: _mean([x[n] for n in above.get(p, []) + below.get(p, [])], x[p]) for p in row}
            _push_apart(row, wanted, x)
    return x


def _push_apart(row: list[Place], wanted: Mapping[Place, float], x: dict[Place, float]) -> None:
    """Places as near to the wanted ones as their widths allow: the mean of packing from the left and from the right."""
    from_left: list[float] = []
    from_right: list[float] = []
    for index, place in enumerate(row):
        least = from_left[-1] + _apart(row[index - 1], place) if index else wanted[place]
        from_left.append(max(wanted[place], least))
    for index, place in enumerate(reversed(row)):
        most = from_right[-1] - _apart(row[len(row) - index], place) if index else wanted[place]
        from_right.append(min(wanted[place], most))
    for place, left, right in zip(row, from_left, reversed(from_right), strict=True):
        x[place] = (left + right) / 2


def _line(
    x: Mapping[Place, float],
    top: Mapping[int, int],
    row_of: Mapping[Place, int],
    way: tuple[Place, ...],
    left: float,
) -> str:
    """A line through its passages, from the lower edge of the first box to the upper edge of the last."""
    begin = x[way[0]] - left, top[row_of[way[0]]] + HEIGHT
    path = f"M{begin[0]:.0f} {begin[1]}"
    at, y = begin
    for place in way[1:]:
        to, low = x[place] - left, top[row_of[place]]
        bend = (low - y) / 2
        path += f"C{at:.0f} {y + bend:.0f} {to:.0f} {low - bend:.0f} {to:.0f} {low}"
        if place != way[-1]:
            path += f"V{low + HEIGHT}"
        at, y = to, low + HEIGHT
    return f'<path d="{path}"/>'


def _width(place: Place) -> float:
    return len(place) * LETTER + 18 if isinstance(place, str) else 2


def _apart(one: Place, other: Place) -> float:
    return (_width(one) + _width(other)) / 2 + (
        GAP if isinstance(one, str) or isinstance(other, str) else GAP / 2
    )


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
