"""Attention over the kept blocks, with a centroid answering for every block that is left out."""

from videosieve.kernels.compensated_attention.api import (
    IMPLEMENTATIONS,
    TAKE_ORDERS,
    Compensated,
    compensated_attention,
    runner,
)

__all__ = ["IMPLEMENTATIONS", "TAKE_ORDERS", "Compensated", "compensated_attention", "runner"]
