"""Block-sparse attention in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

import torch
from torch import Tensor

from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask

ROWS = 128  # whose scores are in memory at a time


def block_sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys, a few rows at a time so that no S × S tensor exists.

    A query whose row keeps no block returns zeros and an LSE of −inf.
    """
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    output = torch.empty_like(q, dtype=wide)
    lse = torch.empty(q.shape[:-1], dtype=wide, device=q.device)
    keys, values = (
        k.to(wide).unsqueeze(2),
        v.to(wide).unsqueeze(2),
    )  # one for every group of heads that share it
    for rows in torch.arange(mask.queries, device=q.device).split(ROWS):
        grouped = q[..., rows, :].to(wide).unflatten(1, (k.shape[1], -1))
        scores = (grouped @ keys.mT).flatten(1, 2) * scale
        scores = scores.masked_fill(~mask.rows(rows).to(q.device), -torch.inf)
        largest = scores.amax(-1, keepdim=True)
        largest = largest.masked_fill(largest.isneginf(), 0.0)
        weights = (scores - largest).exp()
        total = weights.sum(-1, keepdim=True)
        summed = (weights.unflatten(1, (k.shape[1], -1)) @ values).flatten(1, 2)
        output[..., rows, :] = summed / total.masked_fill(total == 0, 1.0)
        lse[..., rows] = (total.log() + largest).squeeze(-1)
    return output.to(q.dtype), lse
