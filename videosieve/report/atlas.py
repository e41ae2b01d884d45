"""atlas.html: which heads are spatial, temporal or neither, and what a density keeps of their mass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videosieve.files import write_text
from videosieve.report.charts import DASHES, Curve, Point, Scale, head_grid, pattern_colour, points_chart
from videosieve.report.figures import Figure, Row, Section, Table, draw_figures
from videosieve.report.page import Colophon

KINDS = ["spatial", "temporal", "other"]
MASKS = {
    "oracle": ("best blocks", "var(--method-0)"),
    "svg": ("SVG", "var(--method-1)"),
    "static": ("best fixed band", "var(--method-3)"),
}


def write_atlas_page(atlases: Sequence[Mapping[str, Any]], colophon: Colophon, path: Path) -> None:
    """Write the page.

    Args:
        atlases: As `HeadAtlas.as_json` gives them, at least one; the first is shown in full, the others in its curves.
        colophon: What stands at the foot.
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    first = atlases[0]
    shares = first["shares"]
    facts = [
        ("model", first["model"], f"{first['videos']} video{'s' if first['videos'] != 1 else ''}"),
        *((f"{kind} heads", f"{100 * shares[kind]:.0f} %", "") for kind in KINDS),
    ]
    note = (
        "At density 0.3. A head is named by what SVG takes it for most often, and other where its band holds less than "
        "half of what the best blocks hold beyond uniform attention."
    )
    sections = [
        Section("What the heads look at", note, [_kinds(first), _recall(atlases)]),
        Section(
            "Recall over the denoising steps",
            "SVG's recall at density 0.3, by layer and quarter of the steps; noise first.",
            table=_over_steps(first),
        ),
    ]  # fmt: skip
    title = f"Attention heads of {first['model']}"
    write_text(path, draw_figures(title, "head atlas", facts, sections, colophon))


def _kinds(atlas: Mapping[str, Any]) -> Figure:
    shares = [[{kind: 1.0} for kind in row] for row in atlas["kinds"]]
    notes = [[f"recall of its band {value:.2f}" for value in row] for row in atlas["band"]]
    key = [(kind, pattern_colour(KINDS, index)) for index, kind in enumerate(KINDS)]
    grid = head_grid(shares, KINDS, notes)
    return Figure("Kinds of heads", "", "Point at a head for the recall of its band.", grid=grid, key=key)


def _recall(atlases: Sequence[Mapping[str, Any]]) -> Figure:
    curves, points = [], []
    for number, atlas in enumerate(atlases):
        for mask, (name, colour) in MASKS.items():
            line = list(zip(atlas["density"], atlas["recall"][mask], strict=True))
            curves.append(Curve(line, colour, DASHES[number % len(DASHES)]))
            for place, (density, recall) in enumerate(line):
                label = name if place == len(line) - 1 and not number else ""
                title = f"{atlas['model']}, {name}, density {density:.2f}: recall {recall:.3f}"
                points.append(Point(density, recall, colour, label, title))
    curves.append(Curve([(0.0, 0.0), (1.0, 1.0)], "var(--strong-line)", "3 6"))
    note = "The diagonal is what uniform attention would give."
    if len(atlases) > 1:
        note += f" Dashed: {', '.join(atlas['model'] for atlas in atlases[1:])}."
    chart = points_chart(points, Scale(0.0, 1.0), Scale(0.0, 1.0), "density", curves=curves)
    return Figure("Recall against density", "softmax mass kept", note, chart)


def _over_steps(atlas: Mapping[str, Any]) -> Table:
    quarters = atlas["recall_over_steps"]
    columns = [(f"{25 * n}–{25 * (n + 1)} %", "of the steps", "") for n in range(len(quarters))]
    rows = []
    for layer in range(len(quarters[0])):
        values = [quarter[layer] for quarter in quarters]
        words = ["–" if value is None else f"{value:.3f}" for value in values]
        rows.append(Row(str(layer), words, shares=tuple(value or 0.0 for value in values)))
    return Table("layer", columns, rows, shaded=True)
