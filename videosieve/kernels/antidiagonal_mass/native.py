"""Antidiagonal mass by the native CPU kernel, `native/antidiagonals.hpp`: scores stay in a thread's cache."""

import ctypes

import torch
from torch import Tensor

from videosieve.kernels.antidiagonal_scores.native import MOST_STRIDE
from videosieve.kernels.native_library import (
    SIZES,
    TensorPointer,
    load,
    refuse_library,
    refuse_tensors,
    sizes,
)


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("mass", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("side", ctypes.c_int64),
        ("causal", ctypes.c_int64),
        *SIZES,
    ]


def refuse(q: Tensor, k: Tensor, stride: int, _side: int, _scale: float, _causal: bool) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k)
    if reason is None and stride > MOST_STRIDE:
        return f"it needs a stride of at most {MOST_STRIDE} tokens, got {stride}"
    return reason


def antidiagonal_mass(
    q: Tensor,
    k: Tensor,
    stride: int,
    side: int,
    scale: float,
    causal: bool = False,
    instruction_set: str | None = None,
) -> Tensor:
    """Mass of every block, in cells; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    rows, columns = -(-q.shape[2] // side), -(-k.shape[2] // side)
    mass = torch.empty((*q.shape[:2], rows, columns), dtype=torch.float32)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k, q.shape[1]),
        mass=mass.data_ptr(),
        stride=stride,
        side=side,
        causal=causal,
        **sizes(q, k.shape[2], scale / stride),
    )
    load().call("antidiagonal_mass", call, instruction_set)
    return mass
