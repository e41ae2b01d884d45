"""The table of the native kernel in one line a shape, as the documentation has it."""

from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
TITLES = (
    "tokens × heads × head_dim",
    "dense, SDPA, s",
    "dense, native, s",
    "dense",
    "bands and random 128",
    "random 64",
    "ragged",
    "against operations",
    "against flex",
    "of peak",
)
KINDS = {
    "bands and random 128": ("band, 128", "band, 64", "random per head, 128"),
    "random 64": ("random per head, 64",),
    "ragged": ("ragged, 128",),
}


def summary(rows: list[Row], machine: dict[str, Any]) -> str:
    """One line a shape: smallest and largest value over its sparse rows.

    Args:
        rows: Of `videosieve.bench.native_rows.time_row`.
        machine: With `peak_gflops`.

    Returns:
        Markdown. The columns of masks are speed-up × density; "against" is their milliseconds ÷ the native kernel's.
    """
    lines = [f"| {' | '.join(TITLES)} |", "|" + " --- |" * len(TITLES)]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        mine = [row for row in rows if row["shape"] == shape]
        lines.append(f"| {' | '.join([shape, *_cells(mine, float(machine['peak_gflops']))])} |")
    return "\n".join(lines)


def _cells(rows: list[Row], peak: float) -> list[str]:
    dense = next((row for row in rows if row["mask"] == "dense"), None)
    sparse = [row for row in rows if row["mask"] != "dense"]
    cells = ["", "", ""]
    if dense is not None:
        cells = [
            f"{dense['dense_ms'] / 1e3:.2f}",
            f"{dense['native_ms'] / 1e3:.2f}",
            f"{dense['speedup']:.2f}",
        ]
    for names in KINDS.values():
        cells.append(_span(row["of_ideal"] for row in sparse if row["mask"] in names))
    cells.append(_span(_against(sparse, lambda row: row["operations_ms"])))
    cells.append(_span(_against(sparse, lambda row: row["flex_ms"])))
    return [*cells, _span(row["gflops"] / peak for row in rows)]


def _against(rows: list[Row], other: Callable[[Row], float | None]) -> Iterable[float]:
    return (time / row["native_ms"] for row in rows if (time := other(row)) is not None)


def _span(values: Iterable[float]) -> str:
    found = list(values)
    if not found:
        return ""
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    return low if low == high else f"{low}–{high}"
