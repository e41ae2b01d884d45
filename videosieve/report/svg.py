"""Small inline SVG figures: lines, stacked bars and the head atlas. Colours come from the page's CSS variables."""

import math
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 118, 14, 40
LABEL_GAP = 15  # least distance of two line labels
CELL, MARGIN_X, MARGIN_Y = 20, 48, 34
PATTERN_COLOURS = 5  # --pattern-0 … in page.css


@dataclass(frozen=True, slots=True)
class Series:
    """One line or row of a figure.

    Attributes:
        name: Its label.
        values: One value per step, frame or part.
        colour: A CSS colour.
        dash: SVG dash pattern; empty for a solid line.
    """

    name: str
    values: list[float]
    colour: str
    dash: str = ""


def line_chart(
    series: list[Series], x_name: str, unit: str, low: float, high: float, cursor: bool = False
) -> Markup:
    """Lines over steps or frames, each labelled at its end.

    Args:
        series: At least one line, all of one length.
        x_name: What the x axis counts.
        unit: What the y axis measures.
        low: Lower end of the y axis.
        high: Upper end of the y axis.
        cursor: Draw a vertical line for the page's script to move.

    Returns:
        An svg element.
    """
    count = max(len(line.values) for line in series)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(index: float) -> float:
        return LEFT + (right - LEFT) * (index / (count - 1) if count > 1 else 0.5)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (min(max(value, low), high) - low) / (high - low)

    parts = [f'<text class="axis" x="{LEFT}" y="{HEIGHT - 6}">{escape(x_name)}</text>']
    for tick in ticks(low, high):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for index in sorted({round((count - 1) * part / 4) for part in range(5)}):
        parts.append(
            f'<text class="tick" x="{x(index):.1f}" y="{bottom + 18}" text-anchor="middle">{index + 1}</text>'
        )
    for line in series:
        points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(line.values))
        parts.append(
            f'<polyline class="line" points="{points}" style="stroke:{line.colour}" stroke-dasharray="{line.dash}">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
        parts += [
            _dot(x(i), y(v), line, f"{x_name} {i + 1}: {v:.3g} {unit}") for i, v in enumerate(line.values)
        ]
    parts += _end_labels([(y(line.values[-1]), line) for line in series], right + 10)
    if cursor:
        parts.append(
            f'<line class="cursor" data-left="{LEFT}" data-right="{right}" x1="{LEFT}" x2="{LEFT}" '
            f'y1="{TOP}" y2="{bottom}"/>'
        )
    return _svg(WIDTH, HEIGHT, parts)


def stacked_bars(rows: list[Series], shades: list[float]) -> Markup:
    """Horizontal stacked bars with the total at the end.

    Args:
        rows: One bar each; values are its parts, seconds.
        shades: Opacity of every part, in (0, 1].

    Returns:
        An svg element.
    """
    height, left, right = 40, 120, WIDTH - 66
    longest = max(sum(row.values) for row in rows) or 1.0
    parts = []
    for index, row in enumerate(rows):
        top, start = index * height + 8, float(left)
        parts.append(
            f'<text class="name" x="{left - 12}" y="{top + 17}" text-anchor="end">{escape(row.name)}</text>'
        )
        for value, shade in zip(row.values, shades, strict=True):
            length = (right - left) * value / longest
            parts.append(
                f'<rect x="{start:.1f}" y="{top}" width="{max(length - 1, 0):.1f}" height="24" rx="2" '
                f'style="fill:{row.colour};opacity:{shade}"><title>{value:.3g} s</title></rect>'
            )
            start += length
        parts.append(f'<text class="value" x="{start + 8:.1f}" y="{top + 17}">{sum(row.values):.3g} s</text>')
    return _svg(WIDTH, len(rows) * height + 8, parts)


def head_grid(shares: list[list[dict[str, float]]], patterns: list[str], names: list[str]) -> Markup:
    """Layers × heads; every cell is coloured by the pattern it used most, the more often the stronger.

    Args:
        shares: shares[layer][head][pattern]: share of the steps, in [0, 1]; empty where always dense.
        patterns: Pattern names; their order gives the colours.
        names: Label of every layer.

    Returns:
        An svg element whose cells carry data-layer and data-head.
    """
    heads = len(shares[0])
    cell = CELL if len(shares) <= 24 else max(7, CELL * 24 // len(shares))
    parts = [
        f'<text class="axis" x="{MARGIN_X}" y="12">head</text>',
        f'<text class="axis" x="0" y="{MARGIN_Y - 5}">layer</text>',
    ]
    for head in range(0, heads, max(1, 14 // cell + heads // 24)):
        x = MARGIN_X + head * cell + cell / 2
        parts.append(f'<text class="tick" x="{x:.1f}" y="{MARGIN_Y - 5}" text-anchor="middle">{head}</text>')
    for layer, row in enumerate(shares):
        y = MARGIN_Y + 3 + layer * cell
        if layer % max(1, 14 // cell) == 0:
            place = f'x="{MARGIN_X - 8}" y="{y + cell / 2 + 4:.1f}" text-anchor="end"'
            parts.append(f'<text class="tick" {place}>{escape(names[layer])}</text>')
        for head, share in enumerate(row):
            text = ", ".join(f"{name} {part:.0%}" for name, part in share.items()) or "dense"
            parts.append(
                f'<rect class="cell" data-layer="{layer}" data-head="{head}" x="{MARGIN_X + head * cell}" y="{y}" '
                f'width="{cell - 2}" height="{cell - 2}" rx="2" style="fill:{cell_fill(share, patterns)}">'
                f"<title>layer {layer}, head {head}: {text}</title></rect>"
            )
    return _svg(MARGIN_X + heads * cell, MARGIN_Y + 6 + len(shares) * cell, parts, natural=True)


def cell_fill(share: dict[str, float], patterns: list[str]) -> str:
    """Fill of an atlas cell: the colour of one pattern, mixed with the other's by its share where there are two."""
    if not share:
        return "var(--cell)"
    if len(patterns) == 2:
        second = 100 * share.get(patterns[1], 0.0)
        return (
            f"color-mix(in oklab, {pattern_colour(patterns, 1)} {second:.0f}%, {pattern_colour(patterns, 0)})"
        )
    top = max(share, key=lambda name: share[name])
    return pattern_colour(patterns, patterns.index(top))


def pattern_colour(patterns: list[str], index: int) -> str:
    """Colour of a pattern: spatial and temporal always look the same, others take the next free colour."""
    fixed = {"spatial": 0, "temporal": 1}
    free = [number for number in range(PATTERN_COLOURS) if number not in fixed.values()]
    others = [name for name in patterns if name not in fixed]
    name = patterns[index]
    number = fixed[name] if name in fixed else free[others.index(name) % len(free)]
    return f"var(--pattern-{number})"


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that cover an interval."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _dot(x: float, y: float, line: Series, text: str) -> str:
    title = f"<title>{escape(line.name)}, {escape(text)}</title>"
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="7">{title}</circle>'


def _end_labels(ends: list[tuple[float, Series]], x: float) -> list[str]:
    """Labels beside the lines' ends, pushed apart where they would overlap."""
    parts, lowest = [], -math.inf
    for y, line in sorted(ends, key=lambda end: end[0]):
        lowest = max(y, lowest + LABEL_GAP)
        parts.append(
            f'<text class="label" x="{x}" y="{lowest + 4:.1f}" style="fill:{line.colour}">{escape(line.name)}</text>'
        )
    return parts


def _svg(width: float, height: float, parts: list[str], natural: bool = False) -> Markup:
    size = f' style="width:{width}px"' if natural else ""
    return Markup(f'<svg viewBox="0 0 {width} {height}"{size} role="img">{"".join(parts)}</svg>')
