"""What `python -m benchmarks.prefill` compares: methods with their settings, by the names of the table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: In the table.
        method: Name of a method; empty for the untouched model.
        options: Its parameters.
    """

    name: str
    method: str = ""
    options: dict[str, Any] = field(default_factory=dict)


DENSE = Row("dense")
ROWS = {
    row.name: row
    for row in (
        DENSE,
        *(
            Row(
                f"xattention S={stride} τ={threshold}",
                "xattention",
                {"stride": stride, "threshold": threshold},
            )
            for stride in (8, 16)
            for threshold in (0.8, 0.9, 0.95)
        ),
        Row("minference", "minference_causal", {"budget": 0.3}),
        Row("a_shape", "minference_causal", {"shape": "a_shape", "budget": 0.3}),
        Row("oracle_top_k", "oracle_top_k", {"density": 0.3}),
        Row("random_blocks", "random_blocks", {"density": 0.3}),
    )
}
QUICK = ("dense", "xattention S=8 τ=0.9", "xattention S=16 τ=0.9", "minference", "a_shape", "random_blocks")
"""Without the grid of thresholds and without the bound, which costs more than dense attention."""
