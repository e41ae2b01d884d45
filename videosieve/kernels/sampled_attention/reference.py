"""Attention of sampled rows in plain PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sampled_attention(
    q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs and LSE of the sampled rows over all keys and over the keys each mask keeps.

    The scores are computed once; every mask reads them again.
    """
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    scores = q.to(wide) @ k.to(wide).mT * scale  # [batch, heads, rows, keys] scores
    values = v.to(wide)
    outputs, lses = [], []
    for kept in (scores, *(scores.masked_fill(~mask, -torch.inf) for mask in masks)):
        largest = kept.amax(-1, keepdim=True)
        largest = largest.masked_fill(largest.isneginf(), 0.0)
        weights = (kept - largest).exp()
        total = weights.sum(-1, keepdim=True)
        outputs.append(weights @ values / total.masked_fill(total == 0, 1.0))
        lses.append((total.log() + largest).squeeze(-1))
    return outputs[0], lses[0], torch.stack(outputs[1:]), torch.stack(lses[1:])
