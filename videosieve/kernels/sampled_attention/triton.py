"""Launcher of the Triton kernel, and the sum over stretches of keys."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.launch import Launch
from videosieve.kernels.sampled_attention.launch import find_launch, splits
from videosieve.kernels.sampled_attention.triton_kernel import sampled_kernel
from videosieve.kernels.triton_support import on_device


def sampled_attention(
    q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shapes as in the api. Weights are rounded to the dtype of v before they meet the values, as in attention."""
    batch, heads, rows, head_dim = q.shape
    shape = 1 + len(masks), splits(q, k.shape[2]), batch, heads, rows
    out = q.new_empty(*shape, head_dim, dtype=torch.float32)
    lse = q.new_empty(shape, dtype=torch.float32)
    launch = find_launch(q)
    grid = triton.cdiv(rows, launch.tile[0]), shape[1], batch * heads
    with on_device(q):
        sampled_kernel[grid](**prepare(q, k, v, masks, (out, lse), scale, launch), **launch.options)
    total = lse.logsumexp(1)
    share = torch.where(total.isneginf().unsqueeze(1), 0.0, (lse - total.unsqueeze(1)).exp())
    output = torch.einsum("nsbhr,nsbhrd->nbhrd", share, out)
    return output[0], total[0], output[1:], total[1:]


def prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Sequence[Tensor],
    outputs: tuple[Tensor, Tensor],
    scale: float,
    launch: Launch,
) -> dict[str, Any]:
    """Arguments of a launch; `outputs` are out [outputs, stretches, batch, heads, rows, head_dim] and its lse."""
    (out, lse), keys, stretches = outputs, k.shape[2], outputs[0].shape[1]
    steps = [tuple(0 if m.shape[i] == 1 and i < 2 else m.stride(i) for i in range(4)) for m in masks]
    return {
        "q": q,
        "k": k,
        "v": v,
        "mask_1": masks[0],
        "mask_2": masks[-1],
        "out": out,
        "lse": lse,
        "rows": q.shape[2],
        "keys": keys,
        "heads": q.shape[1],
        "lanes": q.shape[0] * q.shape[1],
        "head_dim": q.shape[3],
        "stretches": stretches,
        "factor": scale / math.log(2),
        "q_strides": q.stride()[:3],
        "k_strides": k.stride()[:3],
        "v_strides": v.stride()[:3],
        "mask_1_strides": steps[0],
        "mask_2_strides": steps[-1],
        "MASKS": len(masks),
        "STRETCH_TILES": triton.cdiv(triton.cdiv(keys, launch.tile[1]), stretches),
        "BM": launch.tile[0],
        "BN": launch.tile[1],
        "D": max(triton.next_power_of_2(q.shape[3]), 16),
    }
