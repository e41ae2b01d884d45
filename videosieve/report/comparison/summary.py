"""What the page says of all videos of a method together: the table, the Pareto plots, where the time goes."""

from statistics import median
from typing import Any

from videosieve.report.charts import Contender, Scale, pareto_chart, time_bars
from videosieve.report.comparison.cautions import cautions, measures_machine, stayed_dense
from videosieve.report.comparison.columns import CAPTION
from videosieve.report.comparison.figures import Figures, all_figures
from videosieve.report.comparison.statistics import attention_share
from videosieve.report.comparison.style import Styles
from videosieve.report.comparison.table import table_view
from videosieve.report.results import BASELINE, FLOOR, METHOD, ClipResult, Results

TIME_PARTS = (
    ("text", "text encoding"),
    ("attention", "attention"),
    ("rest", "rest of denoising"),
    ("decoding", "decoding"),
    ("around", "everything else"),
)


def summary_view(results: Results, styles: Styles) -> dict[str, Any]:
    """The parts of the page that speak of all scenes.

    Args:
        results: At least one finished video.
        styles: Colour and dash by method.

    Returns:
        method_count, lead, cautions, stayed_dense, table, share, floors, paretos and times for the templates.
    """
    rows = all_figures(results)
    return {
        "method_count": sum(row.kind == METHOD for row in rows),
        "lead": _lead(results, rows),
        "cautions": cautions(results),
        "stayed_dense": stayed_dense(results),
        "table": table_view(results, rows, styles),
        "share": attention_share(results),
        "floors": [
            {"name": row.name, "speedup": row.middle("speedup"), "psnr": row.middle("psnr")}
            for row in rows
            if row.kind == FLOOR
        ],
        "paretos": _paretos(rows, styles),
        "times": _times(results, styles),
    }


def _lead(results: Results, rows: list[Figures]) -> dict[str, Any] | None:
    """The numbers of the opening sentence: the first method that is not dense."""
    dense = next((row for row in rows if row.kind == BASELINE), None)
    first = next((row for row in rows if row.kind == METHOD), None)
    if dense is None or first is None:
        return None
    names = ("run_density", "recall", "seconds", "speedup", "psnr", "ssim")
    values = {name: first.middle(name) for name in names}
    return {
        "name": first.name,
        "videos": len(first.clips),
        "dense_seconds": dense.middle("seconds"),
        "machine": measures_machine(results, first.summary),
        **values,
    }


def _paretos(rows: list[Figures], styles: Styles) -> list[dict[str, Any]]:
    bound = (
        "Right is faster, up is closer to dense. The dotted line ends at the most that the method's run density allows "
        "if the kernel cost nothing else (Amdahl); a hollow dot is beaten in both by another."
    )
    figures = [
        {"key": "psnr", "title": "Speed-up and PSNR", "unit": "dB", "digits": 1, "note": bound},
        {
            "key": "accuracy",
            "title": "Speed-up and captions that came true",
            "unit": "",
            "digits": 2,
            "note": CAPTION + ".",
        },
    ]
    shown = []
    for figure in figures:
        contenders = _contenders(rows, styles, figure["key"])
        if contenders:
            scale, floor = (Scale(-0.08, 1.08), None) if figure["key"] == "accuracy" else (None, _floor(rows))
            limit = rows[0].summary.free_bound
            shown.append(figure | {"chart": pareto_chart(contenders, limit, floor, scale)})
    return shown


def _contenders(rows: list[Figures], styles: Styles, key: str) -> list[Contender]:
    return [
        Contender(
            name=row.name,
            colour=styles[row.name][0],
            speedup=speedup,
            value=value,
            bound=row.summary.bound if row.kind == METHOD else None,
            speedup_interval=row.interval("speedup") if row.kind == METHOD else None,
            value_interval=row.interval(key),
        )
        for row in rows
        if row.kind in (METHOD, BASELINE)
        and (value := row.middle(key)) is not None
        and (speedup := row.middle("speedup")) is not None
    ]


def _floor(rows: list[Figures]) -> float | None:
    """PSNR of dense attention by another kernel; the highest, where there are several."""
    values = [value for row in rows if row.kind == FLOOR and (value := row.middle("psnr")) is not None]
    return max(values, default=None)


def _times(results: Results, styles: Styles) -> dict[str, Any]:
    parts = {name: _parts(results.of_method(name)) for name in styles}
    bars = time_bars([(name, styles[name][0], parts[name]) for name in styles])
    used = {part.kind for bar in bars for part in bar.parts}
    many = len(results.scenes()) > 1
    return {
        "bars": bars,
        "parts": [part for part in TIME_PARTS if part[0] in used],
        "note": "Wall time of the whole pipeline call; attention includes choosing the blocks."
        + (
            " Medians of each part over all videos, so the sum may differ a little from the table."
            if many
            else ""
        ),
    }


def _parts(clips: list[ClipResult]) -> list[tuple[str, str, float]]:
    """Median seconds of every part; what no part accounts for is "everything else"."""
    seconds = {
        "text": median(clip.text_seconds or 0.0 for clip in clips),
        "attention": median(clip.attention_seconds for clip in clips),
        "rest": median(max(clip.denoising_seconds - clip.attention_seconds, 0.0) for clip in clips),
        "decoding": median(clip.decode_seconds or 0.0 for clip in clips),
        "around": median(_around(clip) for clip in clips),
    }
    return [(kind, name, seconds[kind]) for kind, name in TIME_PARTS]


def _around(clip: ClipResult) -> float:
    known = clip.denoising_seconds + (clip.text_seconds or 0.0) + (clip.decode_seconds or 0.0)
    return max(clip.seconds - known, 0.0)
