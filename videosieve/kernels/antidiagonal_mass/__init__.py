"""Softmax mass of blocks as antidiagonals tell it: what XAttention chooses by."""

from videosieve.kernels.antidiagonal_mass.api import IMPLEMENTATIONS, antidiagonal_mass

__all__ = ["IMPLEMENTATIONS", "antidiagonal_mass"]
