"""When the Triton kernel of `block_mass` can run, and how it is launched."""

import torch
from torch import Tensor

from videosieve.block_mask import BlockSize
from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products

LARGEST_SIDE = 128

# tile = (key blocks,) that a program walks over with its query block in registers. The key is (larger block side,
# widest head_dim).
LAUNCHES = LaunchTable(
    "block_mass",
    "reasoned, not measured: one attention block per step, as long a walk as leaves thousands of programs",
    {
        (80, 64, 64): Launch((64,), 4, 3),
        (80, 64, 128): Launch((64,), 4, 3),
        (80, 128, 64): Launch((64,), 8, 3),
        (80, 128, 128): Launch((64,), 8, 2),
    },
)  # fmt: skip


def find_launch(q: Tensor, block: BlockSize) -> Launch:
    """The launch of a call."""
    side, head_dim = (64 if n <= 64 else 128 for n in (max(block.query, block.key), q.shape[-1]))
    return LAUNCHES.find(launch_arch(q.device), side, head_dim)


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
