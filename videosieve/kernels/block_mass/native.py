"""Block mass by the native CPU kernel, `videosieve/native/estimates.hpp`: scores never leave the registers."""

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
from videosieve.masks.block_mask import BlockSize


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("lse", ctypes.c_void_p),
        ("mass", ctypes.c_void_p),
        ("query_side", ctypes.c_int64),
        ("key_side", ctypes.c_int64),
        *SIZES,
    ]


def refuse(q: Tensor, k: Tensor, lse: Tensor, _block: BlockSize, _scale: float) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k)
    if reason is None and (lse.device.type != "cpu" or (lse.requires_grad and torch.is_grad_enabled())):
        return f"it needs lse on the CPU and has no backward, got {lse.device} and {lse.requires_grad=}"
    return reason


def block_mass(
    q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, scale: float, instruction_set: str | None = None
) -> Tensor:
    """Σ exp(scale · q·k − lse) of every block; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    lse = lse.to(torch.float32).contiguous()
    rows, columns = -(-queries // block.query), -(-keys // block.key)
    mass = torch.empty(batch, heads, rows, columns, dtype=torch.float32)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k),
        lse=lse.data_ptr(),
        mass=mass.data_ptr(),
        query_side=block.query,
        key_side=block.key,
        **sizes(q, keys, scale),
    )
    load().call("mass", call, instruction_set)
    return mass
