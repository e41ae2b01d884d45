"""Launcher of the Triton kernels: assign, sort by label, update."""

from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.kmeans.launch import find_launch
from videosieve.kernels.kmeans.triton_kernel import assign_kernel, update_kernel
from videosieve.kernels.launch import Launch
from videosieve.kernels.triton_support import on_device


def assign_and_update(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes as in the api. Distances take the centroids in the dtype of x, products are summed in fp32."""
    batch, heads, tokens, _ = x.shape
    clusters, launch = centroids.shape[2], find_launch(x)
    labels = torch.empty(batch, heads, tokens, dtype=torch.int32, device=x.device)
    means = torch.empty_like(centroids)
    with on_device(x):
        grid = triton.cdiv(tokens, launch.tile[0]), batch * heads
        assign_kernel[grid](**prepare_assign(x, centroids, labels, launch), **launch.options)
        order = labels.sort(stable=True, dim=-1).indices
        # Whole numbers add up to the same in any order.
        sizes = torch.zeros(batch, heads, clusters, dtype=torch.int32, device=x.device)
        sizes.scatter_add_(2, labels.long(), torch.ones_like(labels))
        ends = sizes.cumsum(-1, dtype=torch.int32)
        arguments = prepare_update(x, order, ends, centroids, means, launch)
        update_kernel[clusters, batch * heads](**arguments, **launch.options)
    return labels, means, sizes


def prepare_assign(x: Tensor, centroids: Tensor, labels: Tensor, launch: Launch) -> dict[str, Any]:
    """Arguments of the assignment."""
    # The lengths belong to the centroids as they enter the product, or the nearest would not be the nearest.
    rounded = centroids.to(x.dtype)
    return {
        "x": x,
        "centroids": rounded,
        "lengths": rounded.float().square().sum(-1),
        "labels": labels,
        **_sizes(x, centroids),
        "BM": launch.tile[0],
        "BN": launch.tile[1],
    }


def prepare_update(
    x: Tensor, order: Tensor, ends: Tensor, centroids: Tensor, means: Tensor, launch: Launch
) -> dict[str, Any]:
    """Arguments of the update."""
    return {
        "x": x,
        "order": order,
        "ends": ends,
        "centroids": centroids,
        "means": means,
        **_sizes(x, centroids),
        "BT": launch.tile[2],
    }


def _sizes(x: Tensor, centroids: Tensor) -> dict[str, Any]:
    return {
        "tokens": x.shape[2],
        "heads": x.shape[1],
        "head_dim": x.shape[3],
        "clusters": centroids.shape[2],
        "x_strides": x.stride()[:3],
        "D": max(triton.next_power_of_2(x.shape[3]), 16),
    }
