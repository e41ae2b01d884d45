"""Compensated attention in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

import torch
from torch import Tensor

from videosieve.kernels.centroids import AnyMask, Centroids, of_queries

ROWS = 128  # whose scores are in memory at a time


def compensated_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, answers: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One softmax over kept keys and over centroids, a few rows at a time so that no S × S tensor exists.

    A query without keys and centroids returns zeros and an LSE of −inf.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    k, v, keys, values = (x.to(wide) for x in (k, v, centroids.keys, centroids.values))
    bias = centroids.log_sizes.to(wide).unsqueeze(-2)
    answers = answers & bias.isfinite()
    parts = []
    for rows in torch.arange(mask.queries, device=q.device).split(ROWS):
        some = q[..., rows, :].to(wide)
        exact = (some @ k.mT * scale).masked_fill(~mask.rows(rows).to(q.device), -torch.inf)
        rough = some @ keys.mT * scale + bias
        rough = rough.masked_fill(~of_queries(answers, mask, rows), -torch.inf)
        largest = torch.maximum(exact.amax(-1, keepdim=True), rough.amax(-1, keepdim=True))
        largest = largest.masked_fill(largest.isneginf(), 0.0)
        kept, answering = (exact - largest).exp(), (rough - largest).exp()
        kept_total = kept.sum(-1, keepdim=True)
        total = kept_total + answering.sum(-1, keepdim=True)
        output = (kept @ v + answering @ values) / total.masked_fill(total == 0, 1.0)
        lses = [(x.log() + largest).squeeze(-1) for x in (kept_total, total)]
        parts.append((output.to(q.dtype), *lses))
    output, lse, answered_lse = (torch.cat(part, 2) for part in zip(*parts, strict=True))
    return output, lse, answered_lse
