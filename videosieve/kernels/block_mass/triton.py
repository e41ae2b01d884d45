"""Launcher of the Triton kernel."""

from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.block_mass.launch import find_launch
from videosieve.kernels.block_mass.triton_kernel import block_mass_kernel
from videosieve.kernels.launch import Launch
from videosieve.kernels.triton_support import on_device
from videosieve.masks.block_mask import BlockSize


def block_mass(q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, scale: float) -> Tensor:
    """Shapes as in the api."""
    batch, heads, queries, _ = q.shape
    shape = batch, heads, -(-queries // block.query), -(-k.shape[2] // block.key)
    mass = q.new_empty(shape, dtype=torch.float32)
    if mass.numel():
        launch = find_launch(q)
        arguments = prepare(q, k, lse, mass, block, scale, launch)
        with on_device(q):
            block_mass_kernel[shape[2] * arguments["walks"], batch * heads](**arguments, **launch.options)
    return mass


def prepare(
    q: Tensor, k: Tensor, lse: Tensor, mass: Tensor, block: BlockSize, scale: float, launch: Launch
) -> dict[str, Any]:
    """Arguments of a launch."""
    walk = launch.tile[0]
    return {
        "q": q,
        "k": k,
        "lse": lse,
        "mass": mass,
        "queries": q.shape[2],
        "keys": k.shape[2],
        "heads": q.shape[1],
        "head_dim": q.shape[3],
        "rows": mass.shape[2],
        "columns": mass.shape[3],
        "walks": triton.cdiv(mass.shape[3], walk),
        "scale": scale,
        "q_strides": q.stride()[:3],
        "k_strides": k.stride()[:3],
        "lse_strides": lse.stride(),
        "QUERY_SIDE": block.query,
        "KEY_SIDE": block.key,
        "WALK": walk,
        "BM": max(triton.next_power_of_2(block.query), 16),
        "BN": max(triton.next_power_of_2(block.key), 16),
        "D": max(triton.next_power_of_2(q.shape[3]), 16),
    }
