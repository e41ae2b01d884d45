"""Attention of sampled rows by the native CPU kernel, `videosieve/native/sampled.hpp`.

Scores and weights are computed once; every mask sums the weights that it keeps, and stretches of keys that it drops for
all rows of a panel cost nothing. Where what a mask keeps is too light to be measured from the largest of all scores, it
is computed once more from the largest that it keeps.
"""

import ctypes
from collections.abc import Sequence

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
)

MOST_MASKS = 8


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("v", TensorPointer),
        ("masks", ctypes.c_void_p * MOST_MASKS),
        ("mask_strides", (ctypes.c_int64 * 3) * MOST_MASKS),
        ("mask_count", ctypes.c_int32),
        ("output", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        *SIZES,
    ]


def refuse(q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], _scale: float) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k, v)
    if reason is None and len(masks) > MOST_MASKS:
        return f"it takes at most {MOST_MASKS} masks, got {len(masks)}"
    return reason or next((reason for mask in masks if (reason := _refuse_mask(mask, q)) is not None), None)


def sampled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Sequence[Tensor],
    scale: float,
    instruction_set: str | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs and LSE of the sampled rows; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    output = torch.empty((1 + len(masks), *q.shape), dtype=torch.float32)
    lse = torch.empty(output.shape[:-1], dtype=torch.float32)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k),
        v=TensorPointer.of(v),
        mask_count=len(masks),
        output=output.data_ptr(),
        lse=lse.data_ptr(),
        **sizes(q, k.shape[2], scale),
    )
    masks = [
        mask if mask.stride(-1) == 1 else mask.contiguous() for mask in masks
    ]  # in use until the call returns
    for i, mask in enumerate(masks):
        call.masks[i] = mask.data_ptr()
        call.mask_strides[i][:] = (*shared_strides(mask), mask.stride(2))
    load().call("sampled", call, instruction_set)
    return output[0], lse[0], output[1:], lse[1:]


def _refuse_mask(mask: Tensor, q: Tensor) -> str | None:
    if mask.dtype != torch.bool or mask.device.type != "cpu":
        return f"it needs bool masks on the CPU, got {mask.dtype} on {mask.device}"
    if mask.shape[0] not in (1, q.shape[0]) or mask.shape[1] not in (1, q.shape[1]):
        return f"it needs masks [1 or {q.shape[0]}, 1 or {q.shape[1]}, …], got {list(mask.shape)}"
    return None
