"""Launcher of the Triton kernel."""

import math
from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.centroid_mass.launch import find_launch
from videosieve.kernels.centroid_mass.triton_kernel import centroid_mass_kernel
from videosieve.kernels.launch import Launch
from videosieve.kernels.triton_support import lane_steps, on_device


def centroid_mass(
    q: Tensor, keys: Tensor, log_sizes: Tensor, offsets: Tensor, scale: float, order: Tensor | None
) -> Tensor:
    """Shapes as in the api."""
    rows, columns = offsets.shape[-1] - 1, keys.shape[2]
    mass = q.new_empty(*q.shape[:2], rows, columns, dtype=torch.float32)
    if mass.numel():
        launch = find_launch(q)
        tables = log_sizes.float().contiguous(), offsets.contiguous(), order
        arguments = prepare(q, keys, tables, mass, scale, launch)
        with on_device(q):
            centroid_mass_kernel[rows, q.shape[0] * q.shape[1]](**arguments, **launch.options)
    return mass


def prepare(
    q: Tensor,
    keys: Tensor,
    tables: tuple[Tensor, Tensor, Tensor | None],
    mass: Tensor,
    scale: float,
    launch: Launch,
) -> dict[str, Any]:
    """Arguments of a launch; tables are log_sizes, offsets and order."""
    log_sizes, offsets, order = tables
    order = None if order is None else order.contiguous()
    return {
        "q": q,
        "keys": keys,
        "log_sizes": log_sizes,
        "offsets": offsets,
        "order": order,
        "mass": mass,
        "heads": q.shape[1],
        "rows": mass.shape[2],
        "columns": mass.shape[3],
        "head_dim": q.shape[3],
        "factor": scale / math.log(2),
        "q_strides": q.stride()[:3],
        "key_strides": keys.stride()[:3],
        "size_lanes": lane_steps(log_sizes),
        "offset_lanes": lane_steps(offsets),
        "order_lanes": lane_steps(order),
        "ORDERED": order is not None,
        "BM": launch.tile[0],
        "BN": launch.tile[1],
        "D": max(triton.next_power_of_2(q.shape[3]), 16),
    }
