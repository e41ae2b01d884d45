"""Second moments of blocks by the native CPU kernel, `native/moments.hpp`."""

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

MOST_AXES = 256


class _Call(ctypes.Structure):
    _fields_ = [
        ("x", TensorPointer),
        ("y", TensorPointer),
        ("offsets", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("blocks", ctypes.c_int64),
        ("offset_strides", ctypes.c_int64 * 2),
        ("order_strides", ctypes.c_int64 * 2),
        ("variances", ctypes.c_void_p),
        ("covariances", ctypes.c_void_p),
        *SIZES,
        ("y_dim", ctypes.c_int64),
    ]


def refuse(x: Tensor, offsets: Tensor, y: Tensor | None, _order: Tensor | None) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(*(each for each in (x, y) if each is not None))
    if reason is None and offsets.shape[-1] < 2:
        return "it needs at least one block"
    return reason


def block_moments(
    x: Tensor, offsets: Tensor, y: Tensor | None, order: Tensor | None, instruction_set: str | None = None
) -> tuple[Tensor, Tensor]:
    """Variances and covariances; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    blocks, axes = offsets.shape[-1] - 1, 0 if y is None else y.shape[3]
    variances = torch.empty(*x.shape[:2], blocks, x.shape[3])
    covariances = torch.empty(*x.shape[:2], blocks, axes, x.shape[3])
    offsets, order = offsets.contiguous(), token_table(order)
    call = _Call(
        x=TensorPointer.of(x),
        offsets=offsets.data_ptr(),
        order=None if order is None else order.data_ptr(),
        blocks=blocks,
        offset_strides=shared_strides(offsets),
        order_strides=(0, 0) if order is None else shared_strides(order),
        variances=variances.data_ptr(),
        y_dim=axes,
        **(sizes(x, x.shape[2], 1.0) | {"queries": 1}),
    )
    if y is not None:
        call.y, call.covariances = TensorPointer.of(y), covariances.data_ptr()
    load().call("moments", call, instruction_set)
    return variances, covariances
