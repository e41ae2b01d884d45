"""The exact softmax mass of every block where no query sees a later key, a stretch of queries at a time."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.kernels.antidiagonal_mass.reference import sum_blocks

SCORES_AT_ONCE = 2**26
"""Scores (batch × heads × queries × keys) of one stretch, 4 bytes each; two copies live at a time."""


def causal_mass(call: AttentionCall, side: int) -> Tensor:
    """Softmax mass of every block, at more than the price of dense attention: for fitting, and as a bound.

    Args:
        call: The attention call; key heads may be shared, and keys more than queries.
        side: Block side, tokens.

    Returns:
        fp32 [batch, heads, rows, columns]; a row adds up to its query tokens, nothing above the diagonal.
    """
    stretch = max(SCORES_AT_ONCE // (call.batch * call.heads * call.keys) // side, 1) * side
    columns, parts = -(-call.keys // side), []
    keys = call.k.float().unsqueeze(2)
    for start in range(0, call.tokens, stretch):
        q = call.q[:, :, start : start + stretch].float().unflatten(1, (call.k.shape[1], -1))
        seen = start + q.shape[3] + call.ahead
        scores = (q @ keys[..., :seen, :].mT).flatten(1, 2) * call.scale
        own = torch.arange(start + call.ahead, seen, device=q.device).unsqueeze(-1)
        scores.masked_fill_(torch.arange(seen, device=q.device) > own, -torch.inf)
        blocks = sum_blocks(scores.softmax(-1), side, side)
        parts.append(pad(blocks, (0, columns - blocks.shape[-1])))
    return torch.cat(parts, -2)
