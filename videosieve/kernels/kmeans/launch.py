"""When the Triton kernels of `kmeans` can run, and how they are launched."""

import torch
from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products

# tile = (tokens, centroids) of one step of the assignment, and tokens of one step of the sum. The key is (widest
# head_dim,).
LAUNCHES = LaunchTable(
    "kmeans",
    "reasoned, not measured: tokens stay in registers while the centroids, which all programs share, pass by",
    {
        (80, 64): Launch((128, 64, 64), 4, 3),
        (80, 128): Launch((128, 64, 32), 8, 2),
    },
)


def find_launch(x: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(x.device), 64 if x.shape[-1] <= 64 else 128)


def refuse(x: Tensor, centroids: Tensor) -> str | None:
    """Why the Triton kernels cannot run a call, or None."""
    if centroids.dtype != torch.float32:
        return f"it needs float32 centroids, got {centroids.dtype}"
    return refuse_products(x)
