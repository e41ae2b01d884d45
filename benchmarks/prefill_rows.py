"""What `python -m benchmarks.prefill` compares: methods with their settings, by the names of the table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fit:
    """Thresholds by head, fitted with the dynamic programme on prompts of their own.

    Attributes:
        stride: Of XAttention.
        recall: Exact softmax mass to keep, mean over all heads.
        start: Threshold before any reduction.
    """

    stride: int
    recall: float
    start: float = 0.99


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: In the table.
        method: Name of a method; empty for the untouched model.
        options: Its parameters.
        fit: Where its thresholds by head come from; None where it has none.
    """

    name: str
    method: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    fit: Fit | None = None


def _by_threshold(stride: int, threshold: float) -> Row:
    options = {"stride": stride, "threshold": threshold}
    return Row(f"xattention S={stride} τ={threshold}", "xattention", options)


def _by_head(stride: int, recall: float) -> Row:
    """Of as much recall as a mean over heads; heads that lose least of it are lowered first."""
    return Row(f"by head S={stride} R={recall}", "xattention", {"stride": stride}, Fit(stride, recall))


def _by_tangents(stride: int, threshold: float) -> Row:
    options = {"stride": stride, "threshold": threshold, "compensate": "tangents"}
    return Row(f"tangents S={stride} τ={threshold}", "xattention", options)


DENSE = Row("dense")
USUAL = (
    DENSE,
    *(_by_threshold(stride, threshold) for stride in (8, 16) for threshold in (0.8, 0.9, 0.95)),
    Row("minference", "minference_causal", {"budget": 0.3}),
    Row("a_shape", "minference_causal", {"shape": "a_shape", "budget": 0.3}),
    Row("oracle_top_k", "oracle_top_k", {"density": 0.3}),
    Row("random_blocks", "random_blocks", {"density": 0.3}),
)
"""The rows where nobody names any."""
CLOSE = (
    *(_by_threshold(stride, threshold) for stride in (8, 16) for threshold in (0.97, 0.98)),
    Row("xattention S=16 τ=0.95 D=3", "xattention", {"stride": 16, "threshold": 0.95, "dense_layers": 3}),
    *(_by_head(stride, recall) for stride in (8, 16) for recall in (0.93, 0.95, 0.97)),
    *(_by_tangents(stride, threshold) for stride in (8, 16) for threshold in (0.8, 0.85, 0.88, 0.9, 0.95)),
)
"""Rows near dense quality, by name only: which of them is the fastest that stays within +0.05 of dense?

D: layers from the front that stay dense, the authors' setting for Qwen2-VL. Tangents: XAttention, what it leaves out
answered for by the first query of a block.
"""
ROWS = {row.name: row for row in (*USUAL, *CLOSE)}
QUICK = ("dense", "xattention S=8 τ=0.9", "xattention S=16 τ=0.9", "minference", "a_shape", "random_blocks")
"""Without the grid of thresholds and without the bound, which costs more than dense attention."""
