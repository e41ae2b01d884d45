"""The figure of `benchmarks.methods`: fidelity and recall against the share of attention that was computed."""

from pathlib import Path
from typing import Any

BOUNDS = {"oracle_top_k": "--", "random_blocks": ":"}
PANELS = {"psnr": "PSNR against dense (dB)", "attention_recall": "recall (softmax mass kept)"}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw a line per method, the two bounds in grey.

    Args:
        results: As `benchmarks.methods` writes them.
        path: Where the figure goes; its ending picks the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        for method in dict.fromkeys(row["method"] for row in results["rows"]):
            rows = sorted(
                (row for row in results["rows"] if row["method"] == method),
                key=lambda row: row["run_density"],
            )
            style: dict[str, Any] = {"marker": "o", "markersize": 4}
            if method in BOUNDS:
                style = {"linestyle": BOUNDS[method], "color": "0.4"}
            axes.plot([row["run_density"] for row in rows], [row[key] for row in rows], label=method, **style)
        axes.set_title(title, loc="left")
        axes.set_xlabel("run density (computed ÷ all query–key pairs, warm-up included)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize="small"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
