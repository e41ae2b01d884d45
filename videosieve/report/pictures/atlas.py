"""The head atlas as a picture: kinds by layer and head, recall against density, recall over the steps."""

from pathlib import Path
from typing import Any

from videosieve.colours import light
from videosieve.files import whole_file
from videosieve.visible import plot_text

COLOURS = {kind: light(kind) for kind in ("spatial", "temporal", "other")}
_LINES = {"oracle": light("method-0"), "svg": light("method-1"), "static": light("method-3")}
_NAMES = {
    "oracle": "best blocks (oracle)",
    "svg": "SVG, chosen at every call",
    "static": "best fixed band per head",
}


def plot_atlas(atlases: list[dict[str, Any]], path: Path) -> None:
    """Draw the first atlas; further ones (random weights) appear dashed in the recall panel.

    Args:
        atlases: As `HeadAtlas.as_json` gives them, at least one.
        path: File to write; the ending picks the format.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    kinds, recall, steps = figure.subplots(1, 3, width_ratios=(1.0, 1.25, 1.0))
    _draw_kinds(kinds, atlases[0])
    _draw_recall(recall, atlases)
    _draw_steps(steps, atlases[0])
    figure.suptitle(f"Attention heads of {plot_text(atlases[0]['model'])}", x=0.01, ha="left")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=160)


def _draw_kinds(axes: Any, atlas: dict[str, Any]) -> None:
    from matplotlib.patches import Patch

    for layer, row in enumerate(atlas["kinds"]):
        for head, kind in enumerate(row):
            axes.add_patch(_tile(head, layer, COLOURS[kind]))
            held = f"{atlas['band'][layer][head]:.2f}".lstrip("0")
            axes.text(head + 0.5, layer + 0.5, held, ha="center", va="center", fontsize=7)
    heads, layers = len(atlas["kinds"][0]), len(atlas["kinds"])
    axes.set(xlim=(0, heads), ylim=(layers, 0), xlabel="head", ylabel="layer")
    axes.set_xticks([n + 0.5 for n in range(heads)], [str(n) for n in range(heads)])
    axes.set_yticks([n + 0.5 for n in range(layers)], [str(n) for n in range(layers)])
    axes.tick_params(length=0)
    axes.set_title("kind, and recall of its band", loc="left", fontsize=10)
    axes.spines[:].set_visible(False)
    handles = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items()]
    axes.legend(
        handles=handles, frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14)
    )


def _tile(head: int, layer: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((head + 0.03, layer + 0.03), 0.94, 0.94, color=colour, alpha=0.75, linewidth=0)


def _draw_recall(axes: Any, atlases: list[dict[str, Any]]) -> None:
    for atlas, style in zip(atlases, ("-", "--", ":"), strict=False):
        for name, colour in _LINES.items():
            axes.plot(atlas["density"], atlas["recall"][name], style, color=colour, marker=".")
    ends = max(max(atlas["density"]) for atlas in atlases) + 0.03
    axes.plot((0, 1), (0, 1), color=light("strong-line"), linewidth=1)
    _name_lines(axes, ends)
    axes.set(
        xlim=(0, ends),
        ylim=(0, 1),
        xlabel="density (computed ÷ all pairs)",
        ylabel="recall (softmax mass kept)",
    )
    axes.set_title("recall against density", loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(atlases) > 1:
        axes.set_xlabel("density (computed ÷ all pairs); dashed: random weights")


def _name_lines(axes: Any, ends: float) -> None:
    """The names of the lines in their colours, low at the right, where no line goes."""
    names = [
        *((_NAMES[name], colour) for name, colour in _LINES.items()),
        ("uniform attention", light("muted")),
    ]
    for place, (name, colour) in enumerate(names):
        axes.text(ends, 0.205 - 0.065 * place, name, color=colour, ha="right", fontsize=8)


def _draw_steps(axes: Any, atlas: dict[str, Any]) -> None:
    names = [f"{25 * n}–{25 * (n + 1)} %" for n in range(len(atlas["recall_over_steps"]))]
    seen = [
        (name, row) for name, row in zip(names, atlas["recall_over_steps"], strict=True) if row[0] is not None
    ]
    layers = len(seen[0][1])
    ends: list[tuple[float, str, str, int]] = []
    for layer in range(layers):
        colour = str(0.75 - 0.6 * layer / max(layers - 1, 1))  # later layers darker
        places, recall = zip(*((name, row[layer]) for name, row in seen), strict=True)
        axes.plot(places, recall, color=colour, marker=".")
        if layer in (0, layers - 1):
            ends.append((recall[-1], f"layer {layer}", colour, len(places) - 1))
    axes.set(ylim=(0, 1), xlabel="share of the denoising steps", ylabel="recall")
    axes.set_title("SVG's recall at density 0.3, over the steps", loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    apart = 0.03 * (abs(ends[0][0] - ends[-1][0]) < 0.06) * (1 if ends[0][0] >= ends[-1][0] else -1)
    for (height, name, colour, place), move in zip(ends, (apart, -apart), strict=False):
        at = (place, height + move)
        axes.annotate(name, at, textcoords="offset points", xytext=(6, -3), color=colour, fontsize=8)
    axes.margins(x=0.14)
