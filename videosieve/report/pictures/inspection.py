"""Pictures of an inspection: one PNG a head with its maps and what one patch looks at, and one of all heads."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.colours import light
from videosieve.files import whole_file
from videosieve.inspection import MEASURES, Inspection, Reading, Spot, decode_ratios
from videosieve.report.inspection import picture_frames
from videosieve.report.pictures.ramps import amount_ramp, heat_ramp
from videosieve.visible import plot_text

_SHOWN = (0.25, 64.0)  # ratios to uniform attention between the ends of the colours
_STRIP = 8  # frames at most below the maps
_TITLES = {
    "recall": "inside the mask (recall)",
    "text": "on text",
    "first_frame": "on the first frame",
    "own_frame": "in its own frame",
    "own_place": "at its own place",
    "spread": "spread, share of all keys",
}


def plot_reading(found: Inspection, spot: Spot, path: Path) -> None:
    """Draw one head: both maps with the executed mask outlined, and below them where the middle patch looks.

    Args:
        found: What was seen.
        spot: Layer, head and step; one of its readings.
        path: File to write; the ending picks the format.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    reading = found.readings[spot]
    figure = Figure(figsize=(9.6, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=(3.4, 1.1))
    upper, lower = parts
    axes = upper.subplots(1, 2)
    image = _draw_map(axes[0], found, reading, 0)
    _draw_map(axes[1], found, reading, 1)
    bar = upper.colorbar(image, ax=axes, shrink=0.8, pad=0.01, ticks=[0.25, 1, 4, 16, 64])
    bar.ax.set_yticklabels(["¼×", "1×", "4×", "16×", "64×"], fontsize=8)
    bar.set_label("attention ÷ uniform attention", fontsize=8)
    _draw_patch(lower, found, reading)
    figure.suptitle(_title(spot, reading), x=0.01, ha="left", fontsize=11)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_heads(found: Inspection, step: int, path: Path) -> None:
    """Draw every measure of every head at one step: layers down, heads across.

    Args:
        found: What was seen.
        step: One of its steps.
        path: File to write; the ending picks the format.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    atlas = found.atlas[:, found.steps.index(step)]
    dense = all(reading.density == 1 for reading in found.readings.values())
    names = [name for name in MEASURES if name != "recall" or not dense]
    layers, heads = atlas.shape[1:]
    size = (2.0 * len(names), min(9.0, 1.2 + 1.9 * layers / max(heads, 6)))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        values = atlas[MEASURES.index(name)]
        axes.imshow(values.numpy(), cmap=amount_ramp(), vmin=0, aspect="auto", interpolation="nearest")
        axes.set_title(f"{_TITLES[name]}\nup to {values.nan_to_num().max():.2f}", loc="left", fontsize=8)
        axes.tick_params(labelsize=7, length=2)
        axes.set_xlabel("head", fontsize=8)
        axes.locator_params(integer=True, nbins=8)
    figure.get_axes()[0].set_ylabel("layer", fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def outline_edges(inside: Tensor) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The border of a region on a grid, without the border of the grid itself.

    Args:
        inside: bool [rows, columns].

    Returns:
        Line segments ((x, y), (x, y)) in cells, cell centres at whole numbers.
    """
    edges = []
    for row, column in (inside[1:] != inside[:-1]).nonzero().tolist():
        edges.append(((column - 0.5, row + 0.5), (column + 0.5, row + 0.5)))
    for row, column in (inside[:, 1:] != inside[:, :-1]).nonzero().tolist():
        edges.append(((column + 0.5, row - 0.5), (column + 0.5, row + 0.5)))
    return edges


def _title(spot: Spot, reading: Reading) -> str:
    where = f"layer {spot.layer}, head {spot.head}, step {spot.step}"
    if not reading.order:
        return f"{where}: dense"
    kind = f"{plot_text(reading.pattern)}, " if reading.pattern else ""
    return f"{where}: {kind}density {reading.density:.3f}, recall {reading.view.measures['recall']:.3f}"


def _draw_map(axes: Any, found: Inspection, reading: Reading, order: int) -> Any:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    view, plan = reading.view, found.plan
    ratios = view.attention[order].clamp_min(_SHOWN[0]).numpy()
    axes.set_title("token-major" if order else "frame-major", loc="left", fontsize=10)
    image = axes.imshow(ratios, cmap=amount_ramp(), norm=LogNorm(*_SHOWN), interpolation="nearest")
    if reading.order:
        edges = outline_edges(view.computed[order] > 0.5)
        scattered = len(edges) > 16 * plan.cells
        width, alpha = (0.4, 0.5) if scattered else (1.2, 1.0)
        axes.add_collection(LineCollection(edges, colors=light("outline"), linewidths=width, alpha=alpha))
    grid, start = plan.layout.grid, plan.layout.video.start
    parts, each = (grid.height, grid.width * grid.frames) if order else (grid.frames, grid.tokens_per_frame)
    ticks = range(0, parts, -(-parts // 8))
    places = [(start + part * each) / plan.side - 0.5 for part in ticks]
    labels = [str(part) for part in ticks]
    axes.set_xticks(places, labels, fontsize=7)
    axes.set_yticks(places, labels, fontsize=7)
    unit = "row" if order else "frame"
    axes.set_xlabel(f"keys, from {unit}", fontsize=8)
    axes.set_ylabel(f"queries, from {unit}", fontsize=8)
    return image


def _draw_patch(figure: Any, found: Inspection, reading: Reading) -> None:
    """Frames with the attention of the patch in the middle of the kept ones."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    patches, grid = found.plan.patches, found.plan.layout.grid
    axes_of = (patches.frames, patches.rows, patches.columns)
    middle = [len(values) // 2 for values in axes_of]
    frame, row, column = (values[at] for values, at in zip(axes_of, middle, strict=True))
    index = (middle[0] * len(patches.rows) + middle[1]) * len(patches.columns) + middle[2]
    ratios = decode_ratios(reading.view.patches[index])
    pictures = picture_frames(found)
    shown = _spread_around(frame, grid.frames)
    extent = (-0.5, grid.width - 0.5, grid.height - 0.5, -0.5)
    for axes, number in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        if pictures:
            axes.imshow(0.5 * pictures[number].permute(1, 2, 0).clamp(0, 1).numpy(), extent=extent)
        heat = ratios[number // patches.pool[0]].repeat_interleave(patches.pool[1], 0)
        heat = heat.repeat_interleave(patches.pool[2], 1)[: grid.height, : grid.width]
        opacity = (heat.log2() / 4).clamp(0, 1)
        axes.imshow(
            heat.clamp_min(1).numpy(),
            cmap=heat_ramp(),
            norm=LogNorm(1, _SHOWN[1]),
            alpha=opacity.numpy(),
            extent=extent,
        )
        if number == frame:
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=light("on-screen"), linewidth=1.5
                )
            )
        axes.set_title(f"frame {number}", fontsize=8)
        axes.set_axis_off()
    figure.suptitle(f"where the patch in frame {frame} looks", x=0.01, ha="left", fontsize=9)


def _spread_around(frame: int, frames: int) -> list[int]:
    count = min(_STRIP, frames)
    chosen = torch.linspace(0, frames - 1, count).round().int().tolist()
    nearest = min(range(count), key=lambda i: abs(chosen[i] - frame))
    chosen[nearest] = frame
    return chosen
