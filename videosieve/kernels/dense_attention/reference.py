"""Dense attention in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

import torch
from torch import Tensor


def dense_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """softmax(scale · q·kᵀ) · v with all scores at once, in fp32, or fp64 for fp64 inputs."""
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    groups = q.shape[1] // k.shape[1]
    k, v = (x.to(wide).repeat_interleave(groups, 1) for x in (k, v))
    scores = q.to(wide) @ k.mT * scale
    if causal:
        rows, columns = (torch.arange(count, device=q.device) for count in scores.shape[-2:])
        scores = scores.masked_fill(columns - (k.shape[2] - q.shape[2]) > rows.unsqueeze(-1), -torch.inf)
    return (scores.softmax(-1) @ v).to(q.dtype)
