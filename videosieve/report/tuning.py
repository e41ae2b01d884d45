"""tune.html: every recipe that was measured, what nobody beats, the target, and the check on other videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videosieve.files import write_text
from videosieve.report.charts import Curve, Guide, Point, Scale, points_chart
from videosieve.report.figures import Figure, Row, Section, Table, draw_figures
from videosieve.report.page import Colophon
from videosieve.report.pictures.tuning import Mark

BEATEN, FRONT, CHOSEN, CHECKED = "var(--cell)", "var(--method-1)", "var(--chosen)", "var(--checked)"
KEY = (
    "A filled dot is beaten by none in both, a ring by another. Chosen: what the target takes; "
    "the diamond is its check on videos that the search did not see."
)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the page shows.

    Attributes:
        marks: What was measured on all prompts.
        check: Speed-up and quality of the chosen one on the videos that the search did not see.
        target: Least speed-up and least quality; None where there is none.
        quality: Name and unit of the quality.
        table: Names with units, and a row per measurement; the last name is its role.
        verdict: What became of the target, in a sentence.
        warnings: What was not as the chosen recipe means it.
        recipe: The chosen one as TOML.
    """

    marks: Sequence[Mark]
    check: tuple[float, float]
    target: tuple[float | None, float | None]
    quality: tuple[str, str]
    table: tuple[Sequence[str], Sequence[Sequence[str | float | None]]]
    verdict: str
    warnings: Sequence[str]
    recipe: str


def write_tuning_page(
    title: str, tuned: Tuned, facts: Sequence[tuple[str, str, str]], colophon: Colophon, path: Path
) -> None:
    """Write the page.

    Args:
        title: What was tuned.
        tuned: What was found.
        facts: Name, value, and what belongs to it in small print.
        colophon: What stands at the foot.
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    sections = [
        Section("What was measured", figures=[_figure(tuned)]),
        Section("Every recipe", "The fastest first; finalists come again, from the check.", table=_table(*tuned.table)),
        Section("The chosen recipe", texts=[("recipe.toml", tuned.recipe)]),
    ]  # fmt: skip
    page = draw_figures(title, "tune", facts, sections, colophon, lead=tuned.verdict, warnings=tuned.warnings)
    write_text(path, page)


def _figure(tuned: Tuned) -> Figure:
    marks, check = tuned.marks, tuned.check
    (name, unit), (speed, least) = tuned.quality, tuned.target
    points = [_point(mark) for mark in sorted(marks, key=lambda mark: (mark.best, mark.front))]
    said = f"check: {check[0]:.2f}×, {check[1]:.2f} {unit}"
    points.append(Point(*check, CHECKED, "check", said, "diamond"))
    best = [Curve([(mark.speedup, mark.quality), check], CHECKED, "1 5") for mark in marks if mark.best]
    front = Curve(sorted((mark.speedup, mark.quality) for mark in marks if mark.front), FRONT)
    guides = [Guide(1.0, "dense 1×", upright=True)]
    guides += [] if speed is None else [Guide(speed, f"target {speed:g}×", upright=True)]
    guides += [] if least is None else [Guide(least, f"target {least:g} {unit}".strip())]
    x = Scale.around([point.x for point in points] + [1.0, *([speed] if speed else [])], 0.2, 0.0)
    y = Scale.around([point.y for point in points] + ([least] if least else []), 0.02, 0.0)
    chart = points_chart(points, x, y, "speed-up, ×", curves=[front, *best], guides=guides)
    return Figure(f"Speed-up and {name}", unit, KEY, chart)


def _point(mark: Mark) -> Point:
    title = f"{mark.name}: {mark.speedup:.2f}×, {mark.quality:.2f}"
    if mark.best:
        return Point(mark.speedup, mark.quality, CHOSEN, "chosen", title)
    colour = FRONT if mark.front else BEATEN
    return Point(mark.speedup, mark.quality, colour, "", title, "dot" if mark.front else "ring")


def _table(names: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> Table:
    colours = {"chosen": CHOSEN, "front": FRONT, "check": CHECKED}
    columns = [tuple(name.split(", ", 1)) if ", " in name else (name, "") for name in names[1:]]
    speed = next(index for index, name in enumerate(names) if name.startswith("speed-up"))
    ordered = sorted(rows, key=lambda row: -float(row[speed] or 0.0))
    made = [
        Row(str(row[0]), [_words(cell) for cell in row[1:]], colours.get(str(row[-1]), BEATEN))
        for row in ordered
    ]
    return Table("recipe", [(name, unit, "") for name, unit in columns], made)


def _words(cell: str | float | None) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else str(cell) if isinstance(cell, int) else f"{cell:.3f}"
