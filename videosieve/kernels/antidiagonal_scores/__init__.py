"""Mean score along one antidiagonal of every stride × stride cell: XAttention's estimator."""

from videosieve.kernels.antidiagonal_scores.api import IMPLEMENTATIONS, antidiagonal_scores

__all__ = ["IMPLEMENTATIONS", "antidiagonal_scores"]
