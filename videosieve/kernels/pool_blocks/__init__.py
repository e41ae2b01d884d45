"""Mean token and spread of every block."""

from videosieve.kernels.pool_blocks.api import IMPLEMENTATIONS, Pooled, pool_blocks

__all__ = ["IMPLEMENTATIONS", "Pooled", "pool_blocks"]
