"""Softmax mass of every attention block, given the LSE of its rows: AdaSpa's estimator."""

from videosieve.kernels.block_mass.api import IMPLEMENTATIONS, block_mass

__all__ = ["IMPLEMENTATIONS", "block_mass"]
