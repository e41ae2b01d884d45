"""k-means by the native CPU kernel, `native/clusters.hpp`: no distance leaves the registers."""

import ctypes

import torch
from torch import Tensor

from videosieve.kernels.native_library import (
    SIZES,
    TensorPointer,
    load,
    refuse_library,
    refuse_tensors,
    sizes,
)

MOST_CLUSTERS = 1 << 24


class _Call(ctypes.Structure):
    _fields_ = [
        ("x", TensorPointer),
        ("centroids", ctypes.c_void_p),
        ("clusters", ctypes.c_int64),
        ("iterations", ctypes.c_int64),
        ("labels", ctypes.c_void_p),
        ("means", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        *SIZES,
    ]


def refuse(x: Tensor, centroids: Tensor) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(x)
    if reason is None and (centroids.requires_grad and torch.is_grad_enabled()):
        return "it has no backward; detach the centroids or use torch.no_grad()"
    if reason is None and centroids.shape[2] > MOST_CLUSTERS:
        return f"it counts clusters in fp32, to {MOST_CLUSTERS}; got {centroids.shape[2]}"
    return reason


def iterate(
    x: Tensor, centroids: Tensor, iterations: int, instruction_set: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Labels, means, sizes, and the tokens by cluster after some iterations; shapes as in the api.

    `instruction_set` is for tests.
    """
    batch, heads, tokens, _ = x.shape
    labels = torch.empty(batch, heads, tokens, dtype=torch.int32)
    counts = torch.empty(batch, heads, centroids.shape[2], dtype=torch.int32)
    order = torch.empty(batch, heads, tokens, dtype=torch.int64)
    offsets = torch.empty(batch, heads, centroids.shape[2] + 1, dtype=torch.int64)
    centroids = centroids.to(torch.float32).contiguous()
    means = torch.empty_like(centroids)
    call = _Call(
        x=TensorPointer.of(x),
        centroids=centroids.data_ptr(),
        clusters=centroids.shape[2],
        iterations=iterations,
        labels=labels.data_ptr(),
        means=means.data_ptr(),
        sizes=counts.data_ptr(),
        order=order.data_ptr(),
        offsets=offsets.data_ptr(),
        **(sizes(x, tokens, 1.0) | {"queries": 1}),
    )
    load().call("cluster", call, instruction_set)
    return labels, means, counts, order, offsets
