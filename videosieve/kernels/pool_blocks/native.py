"""Pooling by the native CPU kernel, `videosieve/native/centroids.hpp`."""

import ctypes

import torch
from torch import Tensor

from videosieve.kernels.native_library import (
    SIZES,
    TensorPointer,
    load,
    refuse_library,
    refuse_tensors,
    shared_strides,
    sizes,
    token_table,
)


class _Call(ctypes.Structure):
    _fields_ = [
        ("x", TensorPointer),
        ("offsets", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("blocks", ctypes.c_int64),
        ("offset_strides", ctypes.c_int64 * 2),
        ("order_strides", ctypes.c_int64 * 2),
        ("means", ctypes.c_void_p),
        ("spreads", ctypes.c_void_p),
        *SIZES,
    ]


def refuse(x: Tensor, offsets: Tensor, _order: Tensor | None) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(x)
    if reason is None and offsets.shape[-1] < 2:
        return "it needs at least one block"
    return reason


def pool_blocks(
    x: Tensor, offsets: Tensor, order: Tensor | None, instruction_set: str | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and spread of every block; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    blocks = offsets.shape[-1] - 1
    means = torch.empty(*x.shape[:2], blocks, x.shape[3], dtype=x.dtype)
    spreads = torch.empty(*x.shape[:2], blocks)
    offsets, order = offsets.contiguous(), token_table(order)
    call = _Call(
        x=TensorPointer.of(x),
        offsets=offsets.data_ptr(),
        order=None if order is None else order.data_ptr(),
        blocks=blocks,
        offset_strides=shared_strides(offsets),
        order_strides=(0, 0) if order is None else shared_strides(order),
        means=means.data_ptr(),
        spreads=spreads.data_ptr(),
        **(sizes(x, x.shape[2], 1.0) | {"queries": 1}),
    )
    load().call("pool", call, instruction_set)
    return means, spreads
