"""Dense attention in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

import torch
from torch import Tensor


def dense_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """softmax(scale · q·kᵀ) · v with all scores at once, in fp32, or fp64 for fp64 inputs."""
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    scores = q.to(wide) @ k.to(wide).mT * scale
    if causal:
        rows, columns = (torch.arange(count, device=q.device) for count in scores.shape[-2:])
        scores = scores.masked_fill(columns > rows.unsqueeze(-1), -torch.inf)
    return (scores.softmax(-1) @ v.to(wide)).to(q.dtype)
