"""sweep.html: what one method keeps, costs and gains at several densities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videosieve.files import write_text
from videosieve.report.charts import Curve, Guide, Point, Scale, points_chart
from videosieve.report.figures import Figure, Row, Section, Table, draw_figures
from videosieve.report.page import Colophon

COLUMNS = (  # name, unit, meaning, key, digits
    ("run density", "fraction", "Computed ÷ all query–key pairs, the dense warm-up included", "run_density", 3),
    ("sparse density", "fraction", "The same over the sparse calls only", "sparse_density", 3),
    ("recall", "fraction", "True softmax mass inside the computed blocks, mean over calls and heads", "recall", 3),
    ("PSNR", "dB", "Against the dense video, mean over its frames", "psnr", 1),
    ("SSIM", "at most 1", "Structural similarity to the dense video", "ssim", 4),
    ("time", "s", "Wall time of the whole pipeline call", "seconds", 2),
    ("speed-up", "×", "Time of the dense video of the same prompt and seed ÷ time", "speedup", 2),
)  # fmt: skip


def write_sweep_page(
    method: str,
    points: Sequence[Mapping[str, Any]],
    facts: Sequence[tuple[str, str, str]],
    warnings: Sequence[str],
    colophon: Colophon,
    path: Path,
) -> None:
    """Write the page.

    Args:
        method: What was swept.
        points: Rows of sweep.json, at least one.
        facts: Name, value, and what belongs to it in small print.
        warnings: What has to be said beside the figures.
        colophon: What stands at the foot.
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    ordered = sorted(points, key=lambda point: point["run_density"])
    sections = [
        Section("What a density keeps, and what it gains", figures=[_kept(ordered), _gained(ordered)]),
        Section("The figures", "Means over prompts and seeds.", table=_table(ordered)),
    ]
    title = f"{method} on {colophon.model}, {len(points)} densities"
    kicker = "one method at several densities"
    write_text(path, draw_figures(title, kicker, facts, sections, colophon, warnings=warnings))


def _kept(points: Sequence[Mapping[str, Any]]) -> Figure:
    note = "Fidelity against the share of all query–key pairs that was computed; beside a point the density asked for."
    scale = Scale.around([point["psnr"] for point in points], 4.0, 0.0)
    return _figure("PSNR against dense", "dB", note, points, "psnr", scale, [])


def _gained(points: Sequence[Mapping[str, Any]]) -> Figure:
    note = "Below the dashed line a density costs more than it saves."
    scale = Scale.around([1.0, *(point["speedup"] for point in points)], 0.4, 0.0)
    guides = [Guide(1.0, "dense 1×")]
    return _figure("Speed-up of the whole call", "×", note, points, "speedup", scale, guides)


def _figure(
    title: str, unit: str, note: str, points: Sequence[Mapping[str, Any]], key: str, scale: Scale, guides: list[Guide]
) -> Figure:  # fmt: skip
    colour = "var(--method-1)"
    spots = [
        Point(
            point["run_density"], point[key], colour, f"{point['density']:g}",
            f"density {point['density']:g}, run density {point['run_density']:.3f}: {point[key]:.2f} {unit}",
        )
        for point in points
    ]  # fmt: skip
    line = Curve([(spot.x, spot.y) for spot in spots], colour)
    chart = points_chart(spots, Scale(0.0, 1.0), scale, "run density", curves=[line], guides=guides)
    return Figure(title, unit, note, chart)


def _table(points: Sequence[Mapping[str, Any]]) -> Table:
    def words(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    rows = [
        Row(f"{point['density']:g}", [words(point[key], digits) for *_, key, digits in COLUMNS])
        for point in points
    ]
    return Table("density asked", [(name, unit, meaning) for name, unit, meaning, *_ in COLUMNS], rows)
