"""Cluster the tokens of every head: what SVG2's semantic permutation is made of."""

from videosieve.kernels.kmeans.api import (
    IMPLEMENTATIONS,
    MOST_ITERATIONS,
    Clusters,
    draw_places,
    draw_tokens,
    kmeans,
)

__all__ = ["IMPLEMENTATIONS", "MOST_ITERATIONS", "Clusters", "draw_places", "draw_tokens", "kmeans"]
