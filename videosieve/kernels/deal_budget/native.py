"""Dealing a budget by the native library, `native/schedule_budget.cpp`: no more is sorted than has to be."""

import ctypes

import torch
from torch import Tensor

from videosieve.kernels.native_library import load, refuse_library
from videosieve.kernels.native_threads import team

MOST_PAIRS = 2**31 - 1


class _Call(ctypes.Structure):
    _fields_ = [
        ("worth", ctypes.c_void_p),
        ("query_sizes", ctypes.c_void_p),
        ("key_sizes", ctypes.c_void_p),
        ("budgets", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("threads", ctypes.c_int32),
        ("team", ctypes.c_void_p),
    ]


def refuse(worth: Tensor, _query_sizes: Tensor, _key_sizes: Tensor, _budget: Tensor) -> str | None:
    """Why the native library cannot deal, or None."""
    if (reason := refuse_library()) is not None:
        return reason
    if worth.device.type != "cpu" or worth.dtype != torch.float32:
        return f"it needs worth in fp32 on the CPU, got {worth.dtype} on {worth.device}"
    if not worth.numel() or worth.shape[2] * worth.shape[3] > MOST_PAIRS:
        return f"it needs 1 to {MOST_PAIRS} pairs of clusters a head, got {list(worth.shape)}"
    return "torch.compile cannot trace it" if torch.compiler.is_compiling() else None


def deal_budget(worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor) -> Tensor:
    """Kept pairs of clusters; shapes as in the api."""
    batch, heads, rows, columns = worth.shape
    keep = torch.empty(worth.shape, dtype=torch.bool)
    tables = [x.contiguous() for x in (worth.detach(), query_sizes, key_sizes, budget)]
    names = ("worth", "query_sizes", "key_sizes", "budgets")
    call = _Call(
        **{name: x.data_ptr() for name, x in zip(names, tables, strict=True)},
        keep=keep.data_ptr(),
        batch=batch,
        heads=heads,
        rows=rows,
        columns=columns,
        threads=torch.get_num_threads(),
        team=team(),
    )
    load().call("deal", call)
    return keep
