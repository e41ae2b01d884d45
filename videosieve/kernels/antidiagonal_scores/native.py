"""Antidiagonal scores by the native CPU kernel, `videosieve/native/estimates.hpp`: keys are read where they lie."""

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

MOST_STRIDE = 1024


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("scores", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        *SIZES,
    ]


def refuse(q: Tensor, k: Tensor, stride: int, _scale: float) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k)
    if reason is None and stride > MOST_STRIDE:
        return f"it needs a stride of at most {MOST_STRIDE} tokens, got {stride}"
    return reason


def antidiagonal_scores(
    q: Tensor, k: Tensor, stride: int, scale: float, instruction_set: str | None = None
) -> Tensor:
    """Mean of `scale · q·k` per cell; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    rows, columns = -(-q.shape[2] // stride), -(-k.shape[2] // stride)
    scores = torch.empty((*q.shape[:2], rows, columns), dtype=torch.float32)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k, q.shape[1]),
        scores=scores.data_ptr(),
        stride=stride,
        **sizes(q, k.shape[2], scale / stride),
    )
    load().call("antidiagonal", call, instruction_set)
    return scores
