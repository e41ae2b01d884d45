"""Pages that are made of figures and tables alone: a tune, a sweep, a head atlas, the scores of saliency."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from videosieve.report.charts import HeadGrid, PointsChart
from videosieve.report.page import Colophon, draw_page


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        name: Its head.
        cells: Words, one a column.
        colour: A CSS colour before the name; empty for none.
        remark: In small print below the name.
        shares: For a table of shades: how strongly every cell is shaded, in [0, 1].
    """

    name: str
    cells: list[str]
    colour: str = ""
    remark: str = ""
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        head: What the rows are of.
        columns: Name, unit and meaning of every column.
        rows: Its rows.
        shaded: Cells are shaded by their shares.
    """

    head: str
    columns: list[tuple[str, str, str]]
    rows: list[Row]
    shaded: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, or layers × heads, with its title.

    Attributes:
        title: What is shown.
        unit: Of it.
        note: How it is read.
        chart: Points and lines; None where there is a grid.
        grid: Layers × heads; None where there is a chart.
        key: Name and CSS colour of what the grid is coloured by.
    """

    title: str
    unit: str
    note: str
    chart: PointsChart | None = None
    grid: HeadGrid | None = None
    key: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        title: Of the part.
        note: Below the title.
        figures: Side by side where there is room.
        table: Below them; None for none.
        texts: Names and texts that can be unfolded.
    """

    title: str
    note: str = ""
    figures: list[Figure] = field(default_factory=list)
    table: Table | None = None
    texts: list[tuple[str, str]] = field(default_factory=list)


def draw_figures(
    title: str,
    kicker: str,
    facts: Sequence[tuple[str, str, str]],
    sections: Sequence[Section],
    colophon: Colophon,
    *,
    lead: str = "",
    warnings: Sequence[str] = (),
) -> str:
    """A page of figures and tables.

    Args:
        title: Of the page.
        kicker: What kind of page it is.
        facts: Name, value, and what belongs to it in small print.
        sections: Its parts.
        colophon: What stands at the foot.
        lead: What came out, in a sentence; empty for none.
        warnings: What has to be said beside it.

    Returns:
        HTML.
    """
    values: dict[str, Any] = {"facts": facts, "sections": sections, "lead": lead, "warnings": warnings}
    return draw_page("figures.html", title, colophon, kicker=kicker, **values)
