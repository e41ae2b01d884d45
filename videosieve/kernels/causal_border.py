"""Causal attention on CPU without the native library: blocks in the past whole, those on the border token by token."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.masks.block_mask import BlockMask

Attend = Callable[[Tensor, Tensor, Tensor, BlockMask, float], tuple[Tensor, Tensor]]


def attend_causal(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float, attend: Attend
) -> tuple[Tensor, Tensor]:
    """Attention over the kept keys that are not ahead, in two parts joined by their LSE.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, key heads, keys, head_dim].
        v: Values, likewise.
        mask: The kept blocks, causal.
        scale: Factor on every q·k.
        attend: Block-sparse attention that is not causal, for the blocks that every query of a row may see.

    Returns:
        Output in the dtype of q and LSE; a query without keys has output 0 and LSE −inf.
    """
    sizes = mask.query_sizes.unsqueeze(-1) * mask.key_sizes
    past = BlockMask(mask.keep & (mask.pairs == sizes), mask.block, mask.queries, mask.keys)
    output, lse = attend(q, k, v, past, scale)
    border = (mask.pairs > 0) & (mask.pairs < sizes)
    own_output, own_lse = _attend_border(q, k, v, mask, border, scale)
    lse = lse.to(own_lse.dtype)
    joined = torch.logaddexp(lse, own_lse)
    share = (own_lse - joined).exp().nan_to_num(0.0).unsqueeze(-1)
    return torch.lerp(output.to(own_output.dtype), own_output, share).to(q.dtype), joined


def _attend_border(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, border: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Every row over its kept blocks that the diagonal crosses. Memory: one row of blocks of scores."""
    wide = torch.promote_types(q.dtype, torch.float32)
    output = torch.zeros(q.shape, dtype=wide)
    lse = torch.full(q.shape[:-1], -torch.inf, dtype=wide)
    for row in range(len(border)):
        columns = border[row].nonzero().flatten()
        if not len(columns):
            continue
        queries = slice(row * mask.block.query, min((row + 1) * mask.block.query, mask.queries))
        first = int(columns[0]) * mask.block.key
        last = min((int(columns[-1]) + 1) * mask.block.key, mask.keys)
        seen = mask.rows(torch.arange(queries.start, queries.stop))[..., first:last]
        seen = seen & border[row].repeat_interleave(min(mask.block.key, mask.keys))[first:last]
        keys, values = (x[:, :, first:last].to(wide).unsqueeze(2) for x in (k, v))
        grouped = q[:, :, queries].to(wide).unflatten(1, (k.shape[1], -1))
        scores = ((grouped @ keys.mT).flatten(1, 2) * scale).masked_fill(~seen, -torch.inf)
        total = scores.logsumexp(-1)
        weights = (scores - total.masked_fill(total.isneginf(), 0.0).unsqueeze(-1)).exp()
        output[:, :, queries] = (weights.unflatten(1, (k.shape[1], -1)) @ values).flatten(1, 2)
        lse[:, :, queries] = total
    return output, lse
