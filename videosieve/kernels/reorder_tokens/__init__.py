"""Permute the tokens of chosen heads."""

from videosieve.kernels.reorder_tokens.api import IMPLEMENTATIONS, reorder_tokens

__all__ = ["IMPLEMENTATIONS", "reorder_tokens"]
