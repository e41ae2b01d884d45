"""The figure of `benchmarks.methods`: fidelity and recall against the share of attention that was computed."""

from pathlib import Path
from statistics import fmean
from typing import Any

BOUNDS = {"oracle_top_k": "--", "random_blocks": ":"}
PANELS = {"psnr": "PSNR against dense (dB)", "attention_recall": "recall (softmax mass kept)"}
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7a5195")
MARKERS = "os^"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw a line per method, best mean PSNR first in the legend, the two bounds in grey.

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
    styles = _styles([name for name in ranked if name not in BOUNDS])
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        for name in ranked:
            rows = by_method[name]
            axes.plot([r["run_density"] for r in rows], [r[key] for r in rows], label=name, **styles[name])
        axes.set_title(title, loc="left")
        axes.set_xlabel("run density (warm-up included)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize="small"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _styles(methods: list[str]) -> dict[str, dict[str, Any]]:
    """No two methods with the same colour and marker."""
    styles: dict[str, dict[str, Any]] = {
        name: {"linestyle": line, "color": "0.4"} for name, line in BOUNDS.items()
    }
    for number, name in enumerate(methods):
        marker = MARKERS[number // len(COLORS) % len(MARKERS)]
        color = COLORS[number % len(COLORS)]
        styles[name] = {"color": color, "marker": marker, "markersize": 5, "linewidth": 1.3}
    return styles
