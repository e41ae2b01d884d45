"""Full and masked attention of a few sampled query rows: the profile of a method."""

from videosieve.kernels.sampled_attention.api import IMPLEMENTATIONS, SampledAttention, sampled_attention

__all__ = ["IMPLEMENTATIONS", "SampledAttention", "sampled_attention"]
