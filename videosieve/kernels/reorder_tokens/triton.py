"""Launcher of the Triton kernel; the inverse is the same gather with the inverse order."""

from typing import Any

import triton
from torch import Tensor

from videosieve.kernels.launch import Launch
from videosieve.kernels.reorder_tokens.launch import find_launch
from videosieve.kernels.reorder_tokens.triton_kernel import reorder_kernel
from videosieve.kernels.triton_support import lane_steps, on_device


def reorder_tokens(x: Tensor, order: Tensor, heads: Tensor | None) -> Tensor:
    """Shapes as in the api."""
    y = x.new_empty(x.shape)
    if y.numel():
        launch = find_launch(x)
        arguments = prepare(x, y, order, heads, launch)
        grid = (triton.cdiv(x.shape[2], launch.tile[0]), x.shape[0] * x.shape[1])
        with on_device(x):
            reorder_kernel[grid](**arguments, **launch.options)
    return y


def prepare(x: Tensor, y: Tensor, order: Tensor, heads: Tensor | None, launch: Launch) -> dict[str, Any]:
    """Arguments of a launch."""
    return {
        "x": x,
        "y": y,
        "order": order.contiguous(),
        "chosen": heads,
        "tokens": x.shape[2],
        "heads": x.shape[1],
        "head_dim": x.shape[3],
        "x_strides": x.stride()[:3],
        "order_lanes": lane_steps(order.contiguous()),
        "chosen_lanes": (0, 0) if heads is None else lane_steps(heads.unsqueeze(-1)),
        "CHOSEN": heads is not None,
        "BT": launch.tile[0],
        "D": triton.next_power_of_2(x.shape[3]),
    }
