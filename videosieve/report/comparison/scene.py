"""What the page shows of one prompt and seed: videos, curves over frames and steps, head atlases."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from videosieve.errors import OutputError
from videosieve.report.charts import Scale, Series, head_grid, line_chart, pattern_colour
from videosieve.report.comparison.curves import DENSE
from videosieve.report.comparison.style import Styles
from videosieve.report.results import FLOOR, METHOD, Atlas, ClipResult, Results

_TYPES = {"video": "video/mp4", "difference": "video/mp4", "poster": "image/png"}
_FRAMES_NOTE = "higher is closer to the dense video. Click to go to a frame."


def scene_view(results: Results, folder: Path, index: int, styles: Styles) -> dict[str, Any]:
    """One scene for the template.

    Args:
        results: The comparison.
        folder: Where its files lie.
        index: Which scene.
        styles: Colour and dash by method.

    Returns:
        prompt, seed, clips with their media as data URLs (the floor is left out: it looks like dense), frame_charts,
        step_charts, atlases.

    Raises:
        OutputError: A file is missing.
    """
    prompt, seed = results.scenes()[index]
    clips = [clip for clip in results.of_scene(prompt, seed) if clip.kind != FLOOR]
    views = [{"result": clip, "colour": styles[clip.method][0], **_media(clip, folder)} for clip in clips]
    return {
        "prompt": prompt,
        "seed": seed,
        "first": index == 0,
        "clips": views,
        "has_difference": any(view["difference"] for view in views),
        "frame_charts": _frame_charts(clips, styles),
        "step_charts": _step_charts(clips, styles),
        "atlases": [
            _atlas(clip.method, clip.atlas) for clip in clips if clip.atlas and len(clip.atlas.patterns) > 1
        ],
    }


def _media(clip: ClipResult, folder: Path) -> dict[str, str | None]:
    return {kind: _data_url(folder, clip.files.get(kind), _TYPES[kind]) for kind in _TYPES}


def _data_url(folder: Path, name: str | None, kind: str) -> str | None:
    if name is None:
        return None
    try:
        data = (folder / Path(name).name).read_bytes()
    except OSError as error:
        raise OutputError(
            f"cannot read {str(folder / name)!r}: {error.strerror or error}; run the comparison again"
        ) from None
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _frame_charts(clips: list[ClipResult], styles: Styles) -> list[dict[str, Any]]:
    figures = []
    psnr = [
        Series(clip.method, [*clip.psnr_frames], *styles[clip.method]) for clip in clips if clip.psnr_frames
    ]
    if psnr:
        chart = line_chart(psnr, "frame", Scale.around(_known(psnr), 4.0, 0.0), 1, "dB")
        figures.append({"title": "PSNR of every frame", "unit": "dB", "chart": chart})
        figures[-1]["note"] = f"How large the error is, on a logarithmic scale; {_FRAMES_NOTE}"
    ssim = [
        Series(clip.method, [*clip.ssim_frames], *styles[clip.method]) for clip in clips if clip.ssim_frames
    ]
    if ssim:
        chart = line_chart(ssim, "frame", _fraction_scale(_known(ssim), 0.1), 3)
        figures.append({"title": "SSIM of every frame", "unit": "at most 1", "chart": chart})
        figures[-1]["note"] = f"How alike the structures are; {_FRAMES_NOTE}"
    return figures


def _step_charts(clips: list[ClipResult], styles: Styles) -> list[dict[str, Any]]:
    methods = [clip for clip in clips if clip.kind == METHOD]
    warm_up = [
        sum(flags) / len(flags) for flags in zip(*(clip.dense_steps for clip in methods), strict=False)
    ]
    density = [
        Series(clip.method, [*clip.density_steps], *styles[clip.method], overall=clip.run_density)
        for clip in clips
    ]
    figures = [
        {
            "title": "Density of every step",
            "unit": "computed ÷ all pairs",
            "note": "Share of the query–key pairs that were computed; shaded steps were kept dense"
            + (", paler where only by some methods." if any(0 < share < 1 for share in warm_up) else "."),
            "chart": line_chart(density, "step", Scale(0.0, 1.0), shaded=warm_up),
        }
    ]
    recall = [
        Series(clip.method, clip.recall_steps, *styles[clip.method], overall=clip.recall)
        for clip in clips
        if any(value is not None for value in clip.recall_steps)
    ]
    if recall:
        chart = line_chart(recall, "step", _fraction_scale(_known(recall), 0.2), 3, shaded=warm_up)
        note = "True softmax mass that the computed blocks hold, mean over the sparse calls of a step; 1 loses nothing."
        figures.append({"title": "Recall of every step", "unit": "fraction", "note": note, "chart": chart})
    return figures


def _known(series: list[Series]) -> list[float]:
    return [value for line in series for value in line.values if value is not None]


def _fraction_scale(values: list[float], least: float) -> Scale:
    """A scale that ends at 1 at the latest."""
    scale = Scale.around(values, least, 0.0)
    return Scale(scale.low, min(scale.high, 1.0)) if scale.low < 1.0 else Scale(0.0, 1.0)


def _atlas(method: str, atlas: Atlas) -> dict[str, Any]:
    layers, heads = len(atlas.choice[0]), len(atlas.choice[0][0])
    shares = [[_shares(atlas, layer, head) for head in range(heads)] for layer in range(layers)]
    colours = [pattern_colour(atlas.patterns, index) for index in range(len(atlas.patterns))]
    strip = [
        list(zip(_step_shares(atlas, "".join(rows)), [*colours, "var(--cell)"], strict=True))
        for rows in atlas.choice
    ]
    data = {"patterns": atlas.patterns, "colours": colours, "choice": atlas.choice}
    return {
        "method": method,
        "patterns": list(zip(atlas.patterns, colours, strict=True)),
        "grid": head_grid(shares, atlas.patterns),
        "strip": strip,
        "census": _census(atlas),
        "data": Markup(json.dumps(data).replace("<", "\\u003c")),
    }


def _census(atlas: Atlas) -> str:
    """What the heads chose over all sparse steps, in words."""
    marks = Counter("".join("".join(rows) for rows in atlas.choice))
    del marks[DENSE]
    total = marks.total()
    words = [
        f"{100 * marks[str(i)] / total:.0f} % {name}"
        for i, name in enumerate(atlas.patterns)
        if marks[str(i)]
    ]
    return f"all sparse steps: {', '.join(words)}"


def _shares(atlas: Atlas, layer: int, head: int) -> dict[str, float]:
    counts = Counter(rows[layer][head] for rows in atlas.choice)
    del counts[DENSE]
    total = counts.total()
    return {name: counts[str(i)] / total for i, name in enumerate(atlas.patterns) if counts[str(i)]}


def _step_shares(atlas: Atlas, row: str) -> list[float]:
    """Percent of heads per pattern at one step, the dense ones last."""
    return [100 * row.count(mark) / len(row) for mark in (*map(str, range(len(atlas.patterns))), DENSE)]
