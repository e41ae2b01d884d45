"""report.html: one self-contained file drawn from results.json and the media beside it. No network, no other files."""

import base64
import json
from collections import Counter
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from videosieve.errors import OutputError
from videosieve.report import svg
from videosieve.report.curves import DENSE
from videosieve.report.files import write_text
from videosieve.report.results import Atlas, ClipResult, Results
from videosieve.report.svg import Series

PAGE = "report.html"
METHOD_COLOURS = 6  # --method-0 … in page.css; --method-0 is the baseline
DASHES = ("", "", "7 4", "2 3", "10 3 2 3", "4 2")
TIME_PARTS = (("attention", 1.0), ("rest of denoising", 0.55), ("text and decoding", 0.28))
MEASURED = ("seconds", "speedup", "attention_seconds", "run_density", "sparse_density", "recall")
COMPARED = ("psnr", "psnr_worst", "ssim")
_TYPES = {"video": "video/mp4", "difference": "video/mp4", "poster": "image/png"}


def write_report(folder: Path) -> Path:
    """Draw report.html from a results folder.

    Args:
        folder: Holds results.json and the files it names.

    Returns:
        The path of the page.

    Raises:
        OutputError: results.json or a file it names is missing or damaged, or the page cannot be written.
    """
    results = Results.load(folder)
    if not results.clips:
        raise OutputError(f"{str(folder)!r} holds no finished video; run the comparison again")
    path = folder / PAGE
    write_text(path, render_page(results, folder))
    return path


def render_page(results: Results, folder: Path) -> str:
    """The page as text.

    Args:
        results: At least one finished video.
        folder: Where the files of the results lie.

    Returns:
        HTML.

    Raises:
        OutputError: A file is missing.
    """
    names = [name for name in results.recipes if results.of_method(name)]
    styles = {name: _style(index) for index, name in enumerate(names)}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"fixed": _fixed, "percent": _percent}
    return environment.from_string(_asset("page.html")).render(
        results=results,
        styles=styles,
        rows=[_row(name, results.of_method(name)) for name in names],
        lead=_lead(results, names),
        scenes=[_scene(results, folder, prompt, seed, styles) for prompt, seed in results.scenes()],
        time_parts=TIME_PARTS,
        css=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
    )


def _asset(name: str) -> str:
    return (resources.files("videosieve.report") / name).read_text(encoding="utf-8")


def _style(index: int) -> tuple[str, str]:
    """Colour and dash of the method at this place; both change, so neither has to be told apart alone."""
    return f"var(--method-{index % METHOD_COLOURS})", DASHES[(index // METHOD_COLOURS + index) % len(DASHES)]


def _row(name: str, clips: list[ClipResult]) -> dict[str, Any]:
    """One line of the table: means over the prompts and seeds."""
    values: dict[str, Any] = {
        key: _mean([getattr(clip, key) for clip in clips]) for key in MEASURED + COMPARED
    }
    return {"name": name, "clips": len(clips), **values}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _lead(results: Results, names: list[str]) -> dict[str, Any] | None:
    """The numbers of the opening sentence: the first method that is not the baseline."""
    if len(names) < 2:
        return None
    dense, first = (_row(name, results.of_method(name)) for name in names[:2])
    return {"dense": dense, "first": first, "faster": first["speedup"] >= 1}


def _scene(
    results: Results, folder: Path, prompt: str, seed: int, styles: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    clips = results.of_scene(prompt, seed)
    return {
        "prompt": prompt,
        "seed": seed,
        "clips": [
            {"result": clip, "colour": styles[clip.method][0], **_media(clip, folder)} for clip in clips
        ],
        "psnr_chart": _psnr_chart(clips, styles),
        "density_chart": svg.line_chart(
            [Series(clip.method, clip.density_steps, *styles[clip.method]) for clip in clips],
            "step",
            "",
            0.0,
            1.0,
        ),
        "time_chart": svg.stacked_bars(
            [Series(clip.method, _time_parts(clip), styles[clip.method][0]) for clip in clips],
            [shade for _, shade in TIME_PARTS],
        ),
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


def _psnr_chart(clips: list[ClipResult], styles: dict[str, tuple[str, str]]) -> Markup | None:
    lines = [
        Series(clip.method, clip.psnr_frames, *styles[clip.method]) for clip in clips if clip.psnr_frames
    ]
    if not lines:
        return None
    values = [value for line in lines for value in line.values]
    low, high = 5 * ((min(values) - 1) // 5), 5 * ((max(values) + 1) // 5 + 1)
    return svg.line_chart(lines, "frame", "dB", max(low, 0.0), high, cursor=True)


def _time_parts(clip: ClipResult) -> list[float]:
    rest = max(clip.denoising_seconds - clip.attention_seconds, 0.0)
    return [clip.attention_seconds, rest, max(clip.seconds - clip.denoising_seconds, 0.0)]


def _atlas(method: str, atlas: Atlas) -> dict[str, Any]:
    layers, heads = len(atlas.choice[0]), len(atlas.choice[0][0])
    shares = [[_shares(atlas, layer, head) for head in range(heads)] for layer in range(layers)]
    colours = [svg.pattern_colour(atlas.patterns, index) for index in range(len(atlas.patterns))]
    strip = [
        zip(_step_shares(atlas, "".join(rows)), [*colours, "var(--cell)"], strict=True)
        for rows in atlas.choice
    ]
    data = {"patterns": atlas.patterns, "colours": colours, "choice": atlas.choice}
    return {
        "method": method,
        "patterns": zip(atlas.patterns, colours, strict=True),
        "steps": len(atlas.steps),
        "grid": svg.head_grid(shares, atlas.patterns, [str(layer) for layer in range(layers)]),
        "strip": strip,
        "data": Markup(json.dumps(data).replace("</", "<\\/")),
    }


def _shares(atlas: Atlas, layer: int, head: int) -> dict[str, float]:
    counts = Counter(rows[layer][head] for rows in atlas.choice)
    del counts[DENSE]
    total = counts.total()
    return {name: counts[str(i)] / total for i, name in enumerate(atlas.patterns) if counts[str(i)]}


def _step_shares(atlas: Atlas, row: str) -> list[float]:
    """Percent of heads per pattern at one step, the dense ones last."""
    return [100 * row.count(mark) / len(row) for mark in (*map(str, range(len(atlas.patterns))), DENSE)]


def _fixed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
