"""Antidiagonal scores on CPU: one matrix product per head over cells joined in place."""

import torch
from torch import Tensor


def refuse(q: Tensor, k: Tensor, _stride: int, _scale: float) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    if q.device.type != "cpu":
        return f"it needs CPU tensors, got {q.device}"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad):
        return "it has no backward; detach q and k or use torch.no_grad()"
    return None


def antidiagonal_scores(q: Tensor, k: Tensor, stride: int, scale: float) -> Tensor:
    """One head at a time, so that the joined copies stay small; shapes as in the api."""
    wide = torch.promote_types(q.dtype, torch.float32)
    batch, heads, queries, head_dim = q.shape
    rows, columns = -(-queries // stride), -(-k.shape[2] // stride)
    joined_q, joined_k = (torch.zeros(n * stride, head_dim, dtype=wide) for n in (rows, columns))
    scores = torch.empty(batch, heads, rows, columns, dtype=wide)
    for b in range(batch):
        for h in range(heads):
            joined_q[:queries] = q[b, h]
            joined_k[: k.shape[2]] = k[b, h * k.shape[1] // heads]
            # Keys are walked backwards instead of queries: the same pairs.
            cells = joined_k.view(columns, stride, head_dim).flip(1).view(columns, -1)
            torch.mm(joined_q.view(rows, -1), cells.T, out=scores[b, h])
    return scores.mul_(scale / stride)
