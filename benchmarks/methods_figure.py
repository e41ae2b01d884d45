"""The figure of `benchmarks.methods`: fidelity and recall against the share of attention that was computed.

A small panel per method: its own line, all others in grey behind it, and the two bounds dashed and dotted. That many
lines in one panel cannot be told apart by any colours.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

from videosieve.colours import light

BOUNDS = {"oracle_top_k": "--", "random_blocks": ":"}
PANELS = {"psnr": "PSNR against dense (dB)", "attention_recall": "recall (softmax mass kept)"}
COLUMNS = 8


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw a panel per method and quantity, best mean PSNR first.

    Args:
        results: As `benchmarks.methods` writes them.
        path: Where the figure goes; its ending picks the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(results["rows"], key=lambda row: row["run_density"]):
        by_method.setdefault(row["method"], []).append(row)
    ranked = sorted(by_method, key=lambda name: -fmean(row["psnr"] for row in by_method[name]))
    shown = [name for name in ranked if name not in BOUNDS]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(12.0, 1.75 * rows * len(PANELS) + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(len(PANELS), 1)
    for part, (key, title) in zip(parts, PANELS.items(), strict=True):
        part.suptitle(f"{title}, against run density (warm-up included)", x=0.01, ha="left", fontsize=10)
        grid = part.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, name in zip(grid, shown, strict=False):
            _draw_method(axes, by_method, name, key)
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
    _name_bounds(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_method(axes: Any, by_method: dict[str, list[dict[str, Any]]], name: str, key: str) -> None:
    for other, rows in by_method.items():
        line = ([row["run_density"] for row in rows], [row[key] for row in rows])
        if other == name:
            axes.plot(*line, color=light("method-1"), marker="o", markersize=3, linewidth=1.8, zorder=3)
        elif other in BOUNDS:
            axes.plot(*line, BOUNDS[other], color=light("ink"), linewidth=1.0, zorder=2)
        else:
            axes.plot(*line, color=light("line"), linewidth=0.8, zorder=1)
    axes.set_title(name, loc="left", fontsize=8.5)
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "right"]].set_visible(False)


def _name_bounds(figure: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D((), (), linestyle=style, color=light("ink"), label=name) for name, style in BOUNDS.items()
    ]
    handles.append(Line2D((), (), color=light("line"), label="the other methods"))
    figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside lower center", ncols=len(handles))
