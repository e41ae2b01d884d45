"""Attention over the kept blocks only."""

from videosieve.kernels.block_sparse_attention.api import IMPLEMENTATIONS, block_sparse_attention, runner

__all__ = ["IMPLEMENTATIONS", "block_sparse_attention", "runner"]
