"""When the Triton kernel of `sampled_attention` can run, and how it is launched."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products

MOST_MASKS = 2

# tile = (sampled rows, keys) of one step. The key is (widest head_dim,).
LAUNCHES = LaunchTable(
    "sampled_attention",
    "reasoned, not measured: three outputs of a tile, full and under two masks, fit into the registers",
    {
        (80, 64): Launch((64, 32), 8, 2),
        (80, 128): Launch((64, 32), 8, 2),
    },
)


def find_launch(q: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(q.device), 64 if q.shape[-1] <= 64 else 128)


def splits(q: Tensor, keys: int) -> int:
    """Into how many stretches the keys are cut, so that a few sampled rows fill the device twice over."""
    tile = find_launch(q).tile
    programs = q.shape[0] * q.shape[1] * -(-q.shape[2] // tile[0])
    processors = (
        torch.cuda.get_device_properties(q.device).multi_processor_count if q.device.type == "cuda" else 4
    )
    return max(1, min(-(-2 * processors // programs), keys // (2 * tile[1])))


def refuse(q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], _scale: float) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_products(q, k, v)
    if reason:
        return reason
    if not 1 <= len(masks) <= MOST_MASKS:
        return f"it takes one or two masks in one pass, got {len(masks)}"
    if any(mask.device != q.device or mask.dtype != torch.bool for mask in masks):
        return f"masks must be bool on {q.device}, got {', '.join(f'{m.dtype} on {m.device}' for m in masks)}"
    return None
