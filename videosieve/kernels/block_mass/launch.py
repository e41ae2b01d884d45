"""When the Triton kernel of `block_mass` can run, and how it is launched."""

import torch
from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products
from videosieve.masks.block_mask import BlockSize

LARGEST_SIDE = 128

# tile = (key blocks,) that a program walks over with its query block in registers. The key is (widest head_dim,);
# blocks of up to 128 × 128 fit.
LAUNCHES = LaunchTable(
    "block_mass",
    "reasoned, not measured: one attention block per step, as long a walk as leaves thousands of programs",
    {(80, 64): Launch((64,), 8, 3), (80, 128): Launch((64,), 8, 2)},
)


def find_launch(q: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(q.device), 64 if q.shape[-1] <= 64 else 128)


def refuse(q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, _scale: float) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_products(q, k)
    if reason:
        return reason
    if max(block.query, block.key) > LARGEST_SIDE:
        return f"block sides must be at most {LARGEST_SIDE}, got {block.query} and {block.key}"
    if lse.device != q.device or (torch.is_grad_enabled() and lse.requires_grad):
        return f"lse must be on {q.device} and need no gradient"
    return None
