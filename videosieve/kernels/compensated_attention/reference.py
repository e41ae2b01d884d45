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
    keys, values = (
        torch.cat([x.to(wide), means.to(wide)], 2)
        for x, means in ((k, centroids.keys), (v, centroids.values))
    )
    bias = centroids.log_sizes.to(wide).unsqueeze(-2)
    answers = answers & bias.isfinite()
    outputs, lses, alls = [], [], []
    for rows in torch.arange(mask.queries, device=q.device).split(ROWS):
        scores = q[..., rows, :].to(wide) @ keys.mT * scale
        exact, rough = scores[..., : mask.keys], scores[..., mask.keys :] + bias
        exact = exact.masked_fill(~mask.rows(rows).to(q.device), -torch.inf)
        rough = rough.masked_fill(~of_queries(answers, mask, rows), -torch.inf)
        scores = torch.cat([exact, rough], -1)
        largest = scores.amax(-1, keepdim=True)
        largest = largest.masked_fill(largest.isneginf(), 0.0)
        weights = (scores - largest).exp()
        total = weights.sum(-1, keepdim=True)
        outputs.append(weights @ values / total.masked_fill(total == 0, 1.0))
        kept = weights[..., : mask.keys].sum(-1, keepdim=True)
        lses.append((kept.log() + largest).squeeze(-1))
        alls.append((total.log() + largest).squeeze(-1))
    return torch.cat(outputs, 2).to(q.dtype), torch.cat(lses, 2), torch.cat(alls, 2)
