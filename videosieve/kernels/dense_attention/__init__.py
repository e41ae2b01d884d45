"""Attention over all keys: warm-up steps, dense layers, baselines."""

from videosieve.kernels.dense_attention.api import IMPLEMENTATIONS, dense_attention, fastest, runner

__all__ = ["IMPLEMENTATIONS", "dense_attention", "fastest", "runner"]
