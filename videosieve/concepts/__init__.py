"""Saliency of text concepts in videos: scores, running averages and maps. Plain tensors, no model."""

from videosieve.concepts.accumulate import RunningMaps
from videosieve.concepts.maps import SaliencyMaps
from videosieve.concepts.method import SaliencyMethod
from videosieve.concepts.scores import (
    attend_concepts,
    key_scores,
    linear_vectors,
    normalise_concepts,
    output_scores,
    to_probabilities,
)

__all__ = [
    "RunningMaps",
    "SaliencyMaps",
    "SaliencyMethod",
    "attend_concepts",
    "key_scores",
    "linear_vectors",
    "normalise_concepts",
    "output_scores",
    "to_probabilities",
]
