"""Variance along every axis, and covariance with a few others, inside every block."""

from videosieve.kernels.block_moments.api import IMPLEMENTATIONS, Moments, block_moments

__all__ = ["IMPLEMENTATIONS", "Moments", "block_moments"]
