"""Block-sparse attention by the native CPU kernel, `videosieve/native/attention.hpp`.

Neighbouring queries that keep the same keys form tiles of at most 128; every tile walks its kept keys, wherever they
lie, with an online softmax. The mask is read as it is: no index lists, no gathered copy, blocks of any size.
"""

import ctypes

import torch
from torch import Tensor

from videosieve.block_mask import BlockMask
from videosieve.kernels.native_library import (
    SIZES,
    TensorPointer,
    load,
    refuse_library,
    refuse_tensors,
    shared_strides,
    sizes,
)
from videosieve.ragged_mask import RaggedBlockMask


class _MaskPointer(ctypes.Structure):
    _fields_ = [
        ("keep", ctypes.c_void_p),
        ("query_offsets", ctypes.c_void_p),
        ("key_offsets", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("keep_strides", ctypes.c_int64 * 4),
        ("query_offset_strides", ctypes.c_int64 * 2),
        ("key_offset_strides", ctypes.c_int64 * 2),
    ]


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("v", TensorPointer),
        ("mask", _MaskPointer),
        ("output", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        *SIZES,
    ]


def refuse(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, _scale: float) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k, v)
    if reason is None and mask.keep.device.type != "cpu":
        return f"it needs the mask on the CPU, got {mask.keep.device}"
    return reason


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    scale: float,
    instruction_set: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys; shapes as in the api. `instruction_set` is for tests and benchmarks."""
    output = torch.empty(q.shape, dtype=q.dtype)
    lse = torch.empty(q.shape[:3], dtype=torch.float32)
    query_offsets, key_offsets = _offsets(mask)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k),
        v=TensorPointer.of(v),
        mask=_MaskPointer(
            keep=mask.keep.data_ptr(),
            query_offsets=query_offsets.data_ptr(),
            key_offsets=key_offsets.data_ptr(),
            rows=mask.keep.shape[2],
            columns=mask.keep.shape[3],
            keep_strides=(*shared_strides(mask.keep), *mask.keep.stride()[2:]),
            query_offset_strides=shared_strides(query_offsets),
            key_offset_strides=shared_strides(key_offsets),
        ),
        output=output.data_ptr(),
        lse=lse.data_ptr(),
        **sizes(q, k.shape[2], scale),
    )
    load().call("attention", call, instruction_set)
    return output, lse


def _offsets(mask: BlockMask | RaggedBlockMask) -> tuple[Tensor, Tensor]:
    """First token of every block and the end, int64 [batch|1, heads|1, blocks + 1], last axis contiguous."""
    if isinstance(mask, RaggedBlockMask):
        return mask.query_offsets.contiguous(), mask.key_offsets.contiguous()
    rows, columns = mask.keep.shape[2:]
    query_offsets = torch.arange(rows + 1).mul_(mask.block.query).clamp_(max=mask.queries)
    key_offsets = torch.arange(columns + 1).mul_(mask.block.key).clamp_(max=mask.keys)
    return query_offsets[None, None], key_offsets[None, None]
