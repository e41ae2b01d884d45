"""Dense attention by the native CPU kernel: a mask of one block, kept."""

import torch
from torch import Tensor

from videosieve.kernels.native_attention import Blocks, attend_blocks
from videosieve.kernels.native_library import load, refuse_library, refuse_rounding, refuse_tensors


def refuse(q: Tensor, k: Tensor, v: Tensor, _scale: float, _causal: bool) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    return refuse_library() or refuse_tensors(q, k, v)


def refuse_rounded(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> str | None:
    """Why the native kernel cannot run a call in products of bf16, or None."""
    return refuse(q, k, v, scale, causal) or refuse_rounding(q)


def refuse_slow() -> str | None:
    """Why the native kernel is no faster than torch's on this processor, or None."""
    slow = load().instruction_sets[0] == "portable"
    return "it was built for no vector instructions that this processor has" if slow else None


def dense_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, *, rounded: bool = False
) -> Tensor:
    """softmax(scale · q·kᵀ) · v; shapes as in the api. `rounded`: fp32 is rounded to bf16 once, inside."""
    ends = (torch.tensor([[[0, x.shape[2]]]]) for x in (q, k))
    blocks = Blocks(torch.ones(1, 1, 1, 1, dtype=torch.bool), *ends)
    return attend_blocks(q, k, v, blocks, scale, causal=causal, rounded=rounded)[0]
