"""Attention of sampled rows on CPU: one softmax for all masks, one product with the values for all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Weights of the heads that are worked on together; they should stay in the last-level cache.
GROUP_BYTES = 8 << 20
# Kept weights are relative to the largest score of the row. Below this recall that score lies so far above the kept
# ones that the distance costs digits, and in the end flushes weights to zero: the row starts again from its scores.
LEAST_RECALL = 1e-6


def refuse(q: Tensor, k: Tensor, v: Tensor, _masks: Sequence[Tensor], _scale: float) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    if q.device.type != "cpu":
        return f"it needs CPU tensors, got {q.device}"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "it has no backward; detach q, k and v or use torch.no_grad()"
    return None


def sampled_attention(
    q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs and LSE of the sampled rows, a few heads at a time; shapes as in the api."""
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    batch, heads, rows, head_dim = q.shape
    variants, keys = 1 + len(masks), k.shape[2]
    q, masks = q.to(wide) * scale, [mask.to(wide) for mask in masks]
    output = q.new_empty(variants, batch, heads, rows, head_dim)
    lse = q.new_empty(variants, batch, heads, rows)
    group = max(GROUP_BYTES // (variants * rows * keys * q.element_size()), 1)
    for b in range(batch):
        for h in range(0, heads, group):
            at = slice(h, min(h + group, heads))
            k_group, v_group = k[b, at].to(wide), v[b, at].to(wide)
            mask_group = [
                mask[b if mask.shape[0] > 1 else 0, at if mask.shape[1] > 1 else slice(None)]
                for mask in masks
            ]
            output[:, b, at], lse[:, b, at] = _attend_group(q[b, at], k_group, v_group, mask_group)
    return output[0], lse[0], output[1:], lse[1:]


def _attend_group(q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Output [1 + masks, heads, rows, head_dim] and LSE [1 + masks, heads, rows]; q is already scaled."""
    heads, rows, _ = q.shape
    scores = q @ k.mT
    weights = scores.new_empty(1 + len(masks), *scores.shape)
    torch.softmax(scores, -1, out=weights[0])
    # The largest weight is exp(largest score − lse); it never underflows.
    lse = (scores.amax(-1) - weights[0].amax(-1).log()).repeat(1 + len(masks), 1, 1)
    for i, mask in enumerate(masks, start=1):
        torch.mul(weights[0], mask, out=weights[i])
    recall = weights[1:].sum(-1).clamp_(max=1.0)
    lse[1:] += recall.log()
    # All variants of a head in one product; a view where a group is one head.
    output = (
        (weights.transpose(0, 1).reshape(heads, -1, k.shape[1]) @ v).unflatten(1, (-1, rows)).transpose(0, 1)
    )
    output[1:] /= recall.unsqueeze(-1)
    for i, head, row in (recall < LEAST_RECALL).nonzero().tolist():
        kept = masks[i][head if masks[i].shape[0] > 1 else 0, row].nonzero()[:, 0]
        output[1 + i, head, row] = scores[head, row, kept].softmax(-1) @ v[head, kept]
        lse[1 + i, head, row] = scores[head, row, kept].logsumexp(-1)
    return output, lse
