"""Centroid mass by the native CPU kernel, `videosieve/native/centroids.hpp`."""

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
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("log_sizes", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("log_size_strides", ctypes.c_int64 * 2),
        ("offset_strides", ctypes.c_int64 * 2),
        ("order_strides", ctypes.c_int64 * 2),
        ("mass", ctypes.c_void_p),
        *SIZES,
    ]


def refuse(
    q: Tensor, keys: Tensor, log_sizes: Tensor, _offsets: Tensor, _scale: float, _order: Tensor | None
) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, keys)
    if reason is None and (log_sizes.device.type != "cpu" or log_sizes.dtype != torch.float32):
        return f"it needs log_sizes in fp32 on the CPU, got {log_sizes.dtype} on {log_sizes.device}"
    return reason


def centroid_mass(
    q: Tensor,
    keys: Tensor,
    log_sizes: Tensor,
    offsets: Tensor,
    scale: float,
    order: Tensor | None,
    instruction_set: str | None = None,
) -> Tensor:
    """Mean softmax over the centroids; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    rows, columns = offsets.shape[-1] - 1, keys.shape[2]
    mass = torch.empty(*q.shape[:2], rows, columns)
    log_sizes, offsets, order = log_sizes.contiguous(), offsets.contiguous(), token_table(order)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(keys),
        log_sizes=log_sizes.data_ptr(),
        offsets=offsets.data_ptr(),
        order=None if order is None else order.data_ptr(),
        rows=rows,
        log_size_strides=shared_strides(log_sizes),
        offset_strides=shared_strides(offsets),
        order_strides=(0, 0) if order is None else shared_strides(order),
        mass=mass.data_ptr(),
        **sizes(q, columns, scale),
    )
    load().call("centroid_mass", call, instruction_set)
    return mass
