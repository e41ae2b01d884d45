"""The picture of a tune: speed-up against quality, what nobody beats, the target, and the check on other videos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosieve.colours import light
from videosieve.files import whole_file
from videosieve.visible import plot_text

_PLAIN, _FRONT, _BEST, _CHECK = map(light, ("strong-line", "method-1", "chosen", "checked"))


@dataclass(frozen=True, slots=True)
class Mark:
    """One measured recipe.

    Attributes:
        speedup: Dense seconds ÷ seconds.
        quality: PSNR in dB, or recall.
        name: What it is.
        front: Whether no other beats it in both.
        best: Whether it was chosen.
    """

    speedup: float
    quality: float
    name: str
    front: bool
    best: bool


def plot_tuning(
    marks: list[Mark],
    check: tuple[float, float],
    target: tuple[float | None, float | None],
    names: tuple[str, str],
    paths: list[Path],
) -> None:
    """Draw it.

    Args:
        marks: What was measured on all prompts.
        check: Speed-up and quality of the chosen one on the videos that the search did not see.
        target: Least speed-up and least quality; None where there is none.
        names: What is tuned, for the title; the quality with its unit.
        paths: Files to write; the endings pick the formats.

    Raises:
        OutputError: A file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    front = sorted((mark.speedup, mark.quality) for mark in marks if mark.front)
    rest = [mark for mark in marks if not mark.front]
    axes.scatter([m.speedup for m in rest], [m.quality for m in rest], color=_PLAIN, s=22, label="measured")
    axes.plot(*zip(*front, strict=True), color=_FRONT, marker="o", linewidth=1.6, label="nobody is better")
    for mark in marks:
        if mark.best:
            axes.scatter([mark.speedup], [mark.quality], color=_BEST, s=90, zorder=3, label="chosen")
            axes.plot(
                [mark.speedup, check[0]], [mark.quality, check[1]], ":", color=_BEST, linewidth=1, zorder=1
            )
    axes.scatter(
        *([value] for value in check),
        color=_CHECK,
        s=70,
        marker="D",
        zorder=3,
        label="chosen, on other videos",
    )
    _draw_frame(axes, target, names)
    for path in paths:
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=160)


def _draw_frame(axes: Any, target: tuple[float | None, float | None], names: tuple[str, str]) -> None:
    speed, quality = target
    if quality is not None:
        axes.axhline(quality, color=light("muted"), linestyle="--", linewidth=1, label="target")
    if speed is not None:
        axes.axvline(speed, color=light("muted"), linestyle="--", linewidth=1, label="target")
    axes.axvline(1.0, color=light("line"), linewidth=1)
    axes.set_title(f"Tuned: {plot_text(names[0])}", loc="left")
    axes.set_xlabel("speed-up of the whole call (dense seconds ÷ seconds)")
    axes.set_ylabel(plot_text(names[1]))
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=5)
