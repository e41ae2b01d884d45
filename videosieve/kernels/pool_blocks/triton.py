"""Launcher of the Triton kernel."""

from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.launch import Launch
from videosieve.kernels.pool_blocks.launch import find_launch
from videosieve.kernels.pool_blocks.triton_kernel import pool_blocks_kernel
from videosieve.kernels.triton_support import lane_steps, on_device


def pool_blocks(x: Tensor, offsets: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """Shapes as in the api."""
    batch, heads, _, head_dim = x.shape
    blocks = offsets.shape[-1] - 1
    means = x.new_empty(batch, heads, blocks, head_dim)
    spreads = x.new_empty(batch, heads, blocks, dtype=torch.float32)
    if spreads.numel():
        launch = find_launch(x)
        arguments = prepare(x, offsets.contiguous(), order, means, spreads, launch)
        with on_device(x):
            pool_blocks_kernel[blocks, batch * heads](**arguments, **launch.options)
    return means, spreads


def prepare(
    x: Tensor, offsets: Tensor, order: Tensor | None, means: Tensor, spreads: Tensor, launch: Launch
) -> dict[str, Any]:
    """Arguments of a launch."""
    order = None if order is None else order.contiguous()
    return {
        "x": x,
        "offsets": offsets,
        "order": order,
        "means": means,
        "spreads": spreads,
        "heads": x.shape[1],
        "blocks": spreads.shape[2],
        "head_dim": x.shape[3],
        "x_strides": x.stride()[:3],
        "offset_lanes": lane_steps(offsets),
        "order_lanes": lane_steps(order),
        "ORDERED": order is not None,
        "BT": launch.tile[0],
        "D": max(triton.next_power_of_2(x.shape[3]), 16),
    }
