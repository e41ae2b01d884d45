"""How much softmax mass the queries of a block give to every centroid."""

from videosieve.kernels.centroid_mass.api import IMPLEMENTATIONS, centroid_mass

__all__ = ["IMPLEMENTATIONS", "centroid_mass"]
