"""The call of the native library that block-sparse and dense attention share, `videosieve/native/attention.hpp`.

Neighbouring queries that keep the same keys form tiles of at most 128; every tile walks its kept keys, wherever they
lie, with an online softmax. The mask is read as it is: no index lists, no gathered copy, blocks of any size.
"""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.kernels.native_library import (
    SIZES,
    TensorPointer,
    load,
    shared_strides,
    sizes,
    token_table,
)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Kept blocks as the library reads them.

    Attributes:
        keep: bool [batch|1, heads|1, rows, columns].
        query_offsets: int64 [batch|1, heads|1, rows + 1], contiguous rows; first token of every row, and the end.
        key_offsets: int64 [batch|1, heads|1, columns + 1], contiguous rows; the same for columns.
        query_order: int64 [queries] or [batch|1, heads|1, queries]; place i of the mask is token query_order[i]. None
            where places are tokens.
        key_order: The same for keys and values.
    """

    keep: Tensor
    query_offsets: Tensor
    key_offsets: Tensor
    query_order: Tensor | None = None
    key_order: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Centroids as the library reads them.

    Attributes:
        keys: Mean keys [batch, heads, columns, head_dim] of the dtype of q.
        values: Mean values, likewise.
        log_sizes: fp32 [batch|1, heads|1, columns], contiguous rows.
        answers: bool [batch|1, heads|1, rows, columns]; where a centroid answers.
        lse: fp32 [batch, heads, queries], contiguous; receives the LSE over kept keys and centroids.
    """

    keys: Tensor
    values: Tensor
    log_sizes: Tensor
    answers: Tensor
    lse: Tensor


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
        ("query_order", ctypes.c_void_p),
        ("key_order", ctypes.c_void_p),
        ("query_order_strides", ctypes.c_int64 * 2),
        ("key_order_strides", ctypes.c_int64 * 2),
    ]


class _CentroidsPointer(ctypes.Structure):
    _fields_ = [
        ("keys", TensorPointer),
        ("values", TensorPointer),
        ("log_sizes", ctypes.c_void_p),
        ("answers", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("log_size_strides", ctypes.c_int64 * 2),
        ("answer_strides", ctypes.c_int64 * 4),
    ]

    @classmethod
    def of(cls, answers: Answers | None) -> "_CentroidsPointer":
        if answers is None:
            return cls()
        return cls(
            keys=TensorPointer.of(answers.keys),
            values=TensorPointer.of(answers.values),
            log_sizes=answers.log_sizes.data_ptr(),
            answers=answers.answers.data_ptr(),
            lse=answers.lse.data_ptr(),
            log_size_strides=shared_strides(answers.log_sizes),
            answer_strides=(*shared_strides(answers.answers), *answers.answers.stride()[2:]),
        )


class _Call(ctypes.Structure):
    _fields_ = [
        ("q", TensorPointer),
        ("k", TensorPointer),
        ("v", TensorPointer),
        ("mask", _MaskPointer),
        ("centroids", _CentroidsPointer),
        ("output", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("causal", ctypes.c_int64),
        ("rounded", ctypes.c_int64),
        *SIZES,
    ]


def attend_blocks(  # noqa: PLR0913 - what the structure of the call has
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: Blocks,
    scale: float,
    instruction_set: str | None = None,
    answers: Answers | None = None,
    causal: bool = False,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys, and over centroids where there are any.

    Args:
        q: Queries [batch, heads, queries, head_dim] that `native_library.refuse_tensors` does not refuse.
        k: Keys [batch, key heads, keys, head_dim]; neighbouring heads of q share one where there are fewer.
        v: Values, likewise.
        blocks: The kept blocks.
        scale: Factor on every q·k.
        instruction_set: One of the library's; the fastest where left out.
        answers: Centroids for blocks that are left out; their LSE is written to.
        causal: Whether query i sees key j only where j <= i + keys − queries.
        rounded: Whether fp32 tensors are rounded to bf16 and meet in products of bf16; `refuse_rounding` says whether
            they can.

    Returns:
        Output [batch, heads, queries, head_dim] in the dtype of q, contiguous, and LSE fp32 [batch, heads, queries]
        over the kept keys.
    """
    output = torch.empty(q.shape, dtype=q.dtype)
    lse = torch.empty(q.shape[:3], dtype=torch.float32)
    keep, query_offsets, key_offsets = blocks.keep, blocks.query_offsets, blocks.key_offsets
    # Both are in use until the call returns.
    query_order, key_order = token_table(blocks.query_order), token_table(blocks.key_order)
    call = _Call(
        q=TensorPointer.of(q),
        k=TensorPointer.of(k, q.shape[1]),
        v=TensorPointer.of(v, q.shape[1]),
        mask=_MaskPointer(
            keep=keep.data_ptr(),
            query_offsets=query_offsets.data_ptr(),
            key_offsets=key_offsets.data_ptr(),
            rows=keep.shape[2],
            columns=keep.shape[3],
            keep_strides=(*shared_strides(keep), *keep.stride()[2:]),
            query_offset_strides=shared_strides(query_offsets),
            key_offset_strides=shared_strides(key_offsets),
            query_order=query_order.data_ptr() if query_order is not None else None,
            key_order=key_order.data_ptr() if key_order is not None else None,
            query_order_strides=shared_strides(query_order) if query_order is not None else (0, 0),
            key_order_strides=shared_strides(key_order) if key_order is not None else (0, 0),
        ),
        centroids=_CentroidsPointer.of(answers),
        output=output.data_ptr(),
        lse=lse.data_ptr(),
        causal=causal,
        rounded=rounded,
        **sizes(q, k.shape[2], scale),
    )
    load().call("attention", call, instruction_set)
    return output, lse
