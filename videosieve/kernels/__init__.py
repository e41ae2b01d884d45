"""The kernel ops: one meaning each, several speeds. Import an op from here; its implementations load when they run."""

from videosieve.kernels.antidiagonal_mass import antidiagonal_mass
from videosieve.kernels.antidiagonal_scores import antidiagonal_scores
from videosieve.kernels.block_mass import block_mass
from videosieve.kernels.block_moments import Moments, block_moments
from videosieve.kernels.block_sparse_attention import block_sparse_attention
from videosieve.kernels.centroid_mass import centroid_mass
from videosieve.kernels.centroids import Centroids, centroids_of
from videosieve.kernels.compensated_attention import Compensated, compensated_attention
from videosieve.kernels.deal_budget import deal_budget
from videosieve.kernels.dense_attention import dense_attention
from videosieve.kernels.kmeans import Clusters, kmeans
from videosieve.kernels.norm_rope import norm_rope
from videosieve.kernels.pool_blocks import Pooled, pool_blocks
from videosieve.kernels.reorder_tokens import reorder_tokens
from videosieve.kernels.sampled_attention import SampledAttention, sampled_attention

__all__ = [
    "Centroids",
    "Clusters",
    "Compensated",
    "Moments",
    "Pooled",
    "SampledAttention",
    "antidiagonal_mass",
    "antidiagonal_scores",
    "block_mass",
    "block_moments",
    "block_sparse_attention",
    "centroid_mass",
    "centroids_of",
    "compensated_attention",
    "deal_budget",
    "dense_attention",
    "kmeans",
    "norm_rope",
    "pool_blocks",
    "reorder_tokens",
    "sampled_attention",
]
