"""Which token order suits a head: every candidate is tried on a few sampled rows, and the smallest error wins."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.kernels import Centroids, sampled_attention
from videosieve.layout import inverse_order
from videosieve.masks.block_mask import BlockSize

SAMPLED_ROWS = 32
MASKS_AT_ONCE = 8
"""Candidates per pass: what one call of the kernel takes."""
PAIRS_AT_ONCE = {"cpu": 2**24, "cuda": 2**28}
"""Masked pairs (candidates × batch × heads × rows × tokens) per pass, a byte each."""

Keep = Callable[[Tensor], tuple[Tensor, Centroids]]
Tried = tuple[Tensor, Tensor, Centroids]


def choose_orders(
    call: AttentionCall, orders: Tensor, block: BlockSize, keep: Keep, answered: bool
) -> Tensor:
    """The best of several token orders for every head of every batch element.

    The result of full attention is computed for 32 rows, evenly spaced over the sequence, 32 ÷ tokens of dense
    attention; then what each candidate would have given for them.

    Args:
        call: The attention call.
        orders: int64 [candidates, tokens]; gather indices.
        block: Sides of the blocks, tokens.
        keep: Kept blocks [batch, heads, rows, columns] and centroids in one order.
        answered: Whether centroids answer for what is left out.

    Returns:
        int64 [batch, heads]; the candidate with the smallest mean absolute error.
    """
    if len(orders) == 1:
        return torch.zeros(call.batch, call.heads, dtype=torch.int64, device=call.q.device)
    tried = [(order, *keep(order)) for order in orders]
    rows = torch.linspace(0, call.tokens - 1, min(SAMPLED_ROWS, call.tokens), device=call.q.device).long()
    at_once = PAIRS_AT_ONCE.get(call.q.device.type, 2**24) // (
        call.batch * call.heads * call.tokens * len(orders)
    )
    errors = sum(_errors(call, part, block, tried, answered) for part in rows.split(max(at_once, 1)))
    return torch.as_tensor(errors).argmin(0)


def _errors(
    call: AttentionCall,
    rows: Tensor,
    block: BlockSize,
    tried: list[Tried],
    answered: bool,
) -> Tensor:
    """Sums of absolute errors over rows and values, [candidates, batch, heads]."""
    q, errors = call.q[:, :, rows], []
    for first in range(0, len(tried), MASKS_AT_ONCE):
        part = tried[first : first + MASKS_AT_ONCE]
        places = [inverse_order(order) for order, _, _ in part]
        kept = [
            keep[:, :, place[rows] // block.query] for (_, keep, _), place in zip(part, places, strict=True)
        ]
        masks = [
            blocks.gather(-1, (place // block.key).expand(*blocks.shape[:3], -1))
            for blocks, place in zip(kept, places, strict=True)
        ]
        sampled = sampled_attention(q, call.k, call.v, masks, scale=call.scale)
        for i, (_, _, centroids) in enumerate(part):
            output = sampled.masked_output[i].float()
            if answered:
                output = answer(q, centroids, ~kept[i], call.scale, output, sampled.masked_lse[i].float())
            errors.append((output - sampled.output.float()).abs().sum((-1, -2)))
    return torch.stack(errors)


def answer(
    q: Tensor, centroids: Centroids, answers: Tensor, scale: float, output: Tensor, lse: Tensor
) -> Tensor:
    """Attention of a few rows to kept keys, joined with their centroids.

    Args:
        q: Queries [batch, heads, rows, head_dim].
        centroids: Of all blocks.
        answers: bool [batch, heads, rows, columns]; blocks left out by every row.
        scale: Factor on every q·k.
        output: [batch, heads, rows, head_dim]; over the kept keys.
        lse: fp32 [batch, heads, rows]; likewise.

    Returns:
        [batch, heads, rows, head_dim], fp32.
    """
    scores = q.float() @ centroids.keys.float().mT * scale + centroids.log_sizes.unsqueeze(-2)
    scores = scores.masked_fill(~answers, -torch.inf)
    everything = torch.logaddexp(scores.logsumexp(-1), lse).unsqueeze(-1)
    share = (lse.unsqueeze(-1) - everything).exp()
    return output * share + (scores - everything).exp() @ centroids.values.float()
