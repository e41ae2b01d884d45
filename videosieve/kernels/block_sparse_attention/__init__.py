"""Attention over the kept blocks only."""

from videosieve.kernels.block_sparse_attention.api import (
    IMPLEMENTATIONS,
    TAKE_ORDERS,
    block_sparse_attention,
    runner,
)

__all__ = ["IMPLEMENTATIONS", "TAKE_ORDERS", "block_sparse_attention", "runner"]
