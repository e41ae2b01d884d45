"""The head atlas: one square per layer and head."""

from dataclasses import dataclass

from videosieve.report.charts.axes import Tick

MARGIN_X, MARGIN_Y, WIDEST = 40, 34, 300
FIXED = ("spatial", "temporal")  # these look the same wherever they are drawn
FREE = ("other", "another", "further")  # of `videosieve.colours`, in order of use


@dataclass(frozen=True, slots=True)
class Cell:
    """A square of the atlas; x and y in pixels."""

    layer: int
    head: int
    x: int
    y: int
    fill: str
    title: str


@dataclass(frozen=True, slots=True)
class HeadGrid:
    """Where everything is, in pixels; ticks are heads and layers with the middles of their cells.

    Attributes:
        width: Of the picture.
        height: Of the picture.
        side: Of a cell, the gap to the next included.
        cells: By layer, then head.
        heads: Ticks along the top.
        layers: Ticks along the left.
    """

    width: int
    height: int
    side: int
    cells: list[Cell]
    heads: list[Tick]
    layers: list[Tick]


def head_grid(
    shares: list[list[dict[str, float]]], patterns: list[str], notes: list[list[str]] | None = None
) -> HeadGrid:
    """Lay out layers × heads; every cell is coloured by the pattern it used most.

    Args:
        shares: shares[layer][head][pattern]: share of the steps, in [0, 1]; empty where always dense.
        patterns: Pattern names; their order gives the colours.
        notes: notes[layer][head]: said of a square besides; None for nothing.

    Returns:
        The grid; it is never wider than a phone.
    """
    layers, heads = len(shares), len(shares[0])
    side = max(6, min(22, WIDEST // heads, 640 // layers))
    every = -(-18 // side)  # tick labels keep 18 pixels apart
    cells = [
        Cell(
            layer,
            head,
            MARGIN_X + head * side,
            MARGIN_Y + layer * side,
            cell_fill(share, patterns),
            f"layer {layer}, head {head}: "
            + (", ".join(f"{name} {100 * part:.0f} %" for name, part in share.items()) or "dense")
            + ("" if notes is None else f"; {notes[layer][head]}"),
        )
        for layer, row in enumerate(shares)
        for head, share in enumerate(row)
    ]
    return HeadGrid(
        width=MARGIN_X + heads * side,
        height=MARGIN_Y + layers * side,
        side=side,
        cells=cells,
        heads=[Tick(str(head), MARGIN_X + (head + 0.5) * side - 1) for head in range(0, heads, every)],
        layers=[Tick(str(layer), MARGIN_Y + (layer + 0.5) * side - 1) for layer in range(0, layers, every)],
    )


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
    name = patterns[index]
    others = [each for each in patterns if each not in FIXED]
    return f"var(--{name if name in FIXED else FREE[others.index(name) % len(FREE)]})"
