"""Figures for documents: matplotlib, loaded when a figure is drawn."""

from pathlib import Path

from videosieve.colours import light
from videosieve.files import whole_file
from videosieve.visible import plot_text


def plot_fidelity(points: list[tuple[float, float]], subject: str, paths: list[Path]) -> None:
    """PSNR against run density.

    Args:
        points: (run density in [0, 1], PSNR in dB) pairs.
        subject: Which method on which model, for the title.
        paths: Files to write; the endings pick the formats.

    Raises:
        OutputError: A file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    densities, decibels = zip(*sorted(points), strict=True)
    axes.plot(densities, decibels, color=light("method-1"), marker="o", linewidth=2)
    for density, value in zip(densities, decibels, strict=True):
        axes.annotate(
            f"{value:.1f}",
            (density, value),
            textcoords="offset points",
            xytext=(5, -4),
            va="top",  # below a rising line
        )
    axes.set_title(f"PSNR against dense (dB): {plot_text(subject)}", loc="left")
    axes.set_xlabel("run density (computed ÷ all query–key pairs, warm-up included)")
    axes.set_ylabel("PSNR (dB), mean over frames")
    axes.set_xlim(0, 1)
    axes.margins(y=0.15)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    for path in paths:
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=160)
