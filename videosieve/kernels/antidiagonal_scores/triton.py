"""Launcher of the Triton kernel."""

from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.antidiagonal_scores.launch import find_launch
from videosieve.kernels.antidiagonal_scores.triton_kernel import antidiagonal_kernel
from videosieve.kernels.launch import Launch
from videosieve.kernels.triton_support import on_device


def antidiagonal_scores(q: Tensor, k: Tensor, stride: int, scale: float) -> Tensor:
    """Shapes as in the api; q and k are read where they lie, nothing is joined or padded."""
    batch, heads, queries, _ = q.shape
    scores = q.new_empty(batch, heads, -(-queries // stride), -(-k.shape[2] // stride), dtype=torch.float32)
    if scores.numel():
        launch = find_launch(q)
        arguments = prepare(q, k, scores, stride, scale, launch)
        tiles = triton.cdiv(scores.shape[2], launch.tile[0]) * arguments["column_tiles"]
        with on_device(q):
            antidiagonal_kernel[tiles, batch * heads](**arguments, **launch.options)
    return scores


def prepare(
    q: Tensor, k: Tensor, scores: Tensor, stride: int, scale: float, launch: Launch
) -> dict[str, Any]:
    """Arguments of a launch."""
    return {
        "q": q,
        "k": k,
        "scores": scores,
        "queries": q.shape[2],
        "keys": k.shape[2],
        "heads": q.shape[1],
        "group": q.shape[1] // k.shape[1],
        "head_dim": q.shape[3],
        "rows": scores.shape[2],
        "columns": scores.shape[3],
        "column_tiles": triton.cdiv(scores.shape[3], launch.tile[1]),
        "factor": scale / stride,
        "stride": stride,
        "q_strides": q.stride()[:3],
        "k_strides": k.stride()[:3],
        "BM": launch.tile[0],
        "BN": launch.tile[1],
        "D": max(triton.next_power_of_2(q.shape[3]), 16),
    }
