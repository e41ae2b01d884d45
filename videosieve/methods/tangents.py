"""What causal attention leaves out, answered for by one attended query of every block.

log Σ exp(s q·k) over a set of keys is convex in q, so its tangent at a query p lies below it everywhere and touches it
at p: log Σ exp(s p·k) + s (q − p)·k̃, with k̃ the mean of the keys weighted by the attention of p. The first query of a
block attends to all that the block leaves out, and the others take its tangents, with the mean values to them. Causal:
the first query comes before the others, and what is left out before both. A centroid is the tangent at q = 0.

Ours; near to Δ attention (Willette et al., arXiv:2505.11254), which adds the first query's difference to all others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.masks.block_mask import BlockMask

STRETCH = 1024
"""Keys that one tangent stands for, at least a block: counted from key 0, so that chunks of a prompt answer alike."""
ROWS = 64
"""Query blocks whose tangents are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Tangents:
    """What answers for some query blocks.

    Attributes:
        keys: [batch, heads, rows, stretches, head_dim]; the mean of the keys that a row leaves out of a stretch, as its
            first query attends to them, times the scale.
        values: The same of the values.
        levels: [batch, heads, rows, stretches]; the score of a query is q·key + level, −inf where nothing is left out.
    """

    keys: Tensor
    values: Tensor
    levels: Tensor


def left_out_before(mask: BlockMask) -> Tensor:
    """bool [batch|1, heads|1, rows, columns]; blocks that all queries of a row may see and none does."""
    return ~mask.keep & (mask.pairs == mask.query_sizes.unsqueeze(-1) * mask.key_sizes)


def answer_by_tangents(
    call: AttentionCall, mask: BlockMask, output: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Join tangents to what a causal mask has computed, under one softmax.

    Args:
        call: The attention call; keys may be more than queries, and their heads fewer.
        mask: Kept blocks, causal, the diagonal among them.
        output: Over the kept keys [batch, heads, tokens, head_dim].
        lse: Likewise, fp32 [batch, heads, tokens].

    Returns:
        Output in the dtype of q, LSE over kept keys and tangents, at most that of full attention, and the pairs
        computed for them ÷ all pairs, float64 [batch|1, heads|1]. The first query of a block gets full attention; rows
        that leave nothing out stay as they were, bit by bit.
    """
    left_out = left_out_before(mask)
    stretch = max(STRETCH // mask.block.key, 1)
    wide = torch.promote_types(call.q.dtype, torch.float32)
    outputs, lses = [], []
    for start in range(0, left_out.shape[2], ROWS):
        rows = left_out[:, :, start : start + ROWS]
        tokens = slice(start * mask.block.query, (start + ROWS) * mask.block.query)
        part, level = output[:, :, tokens], lse[:, :, tokens]
        if rows.device.type != "cpu" or bool(rows.any()):
            q = call.q[:, :, tokens]
            own = range(call.ahead + tokens.start, call.ahead + tokens.start + q.shape[2], mask.block.query)
            tangents = _tangents(
                q[:, :, :: mask.block.query].to(wide), own, call, mask.block.key, rows, stretch
            )
            part, level = _join(q, tangents, mask.block.query, part, level)
        outputs.append(part)
        lses.append(level)
    output, lse = (parts[0] if len(parts) == 1 else torch.cat(parts, 2) for parts in (outputs, lses))
    return output, lse, _density(mask, left_out, stretch)


def _tangents(
    first: Tensor, own: range, call: AttentionCall, side: int, left_out: Tensor, stretch: int
) -> Tangents:
    """At the first queries of some rows [batch, heads, rows, head_dim], which sit at the keys `own`."""
    batch, heads, rows, head_dim = first.shape
    first = first * call.scale
    groups = call.k.shape[1]
    stretches = -(-left_out.shape[-1] // stretch)
    levels = first.new_full((batch, heads, rows, stretches), -torch.inf)
    keys, values = (first.new_zeros(batch, heads, rows, stretches, head_dim) for _ in range(2))
    whole = call.keys // side  # a last part of a block is before nobody
    left_out = left_out.expand(batch, heads, -1, -1)
    together = (batch, groups, -1)  # heads that share keys lie one below another, so that no keys are copied
    for number in range(stretches):
        columns = slice(number * stretch, min((number + 1) * stretch, whole))
        begin = sum(
            place < (columns.start + 1) * side for place in own
        )  # rows before it have none of it behind them
        if begin == rows or columns.start >= whole:
            break
        k, v = (x[:, :, columns.start * side : columns.stop * side].to(first.dtype) for x in (call.k, call.v))
        scores = first[:, :, begin:].reshape(*together, head_dim) @ k.mT
        hidden = ~left_out[:, :, begin:, columns].reshape(*together, columns.stop - columns.start, 1)
        scores.unflatten(-1, (-1, side)).masked_fill_(hidden, -torch.inf)
        largest = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        weights = scores.sub_(largest).exp_()
        total = weights.sum(-1, keepdim=True)
        placed, least = (
            (batch, heads, rows - begin),
            total.clamp(min=1),
        )  # the largest weight is 1, or there is none
        keys[:, :, begin:, number] = (weights @ k).div_(least).view(*placed, head_dim)
        values[:, :, begin:, number] = (weights @ v).div_(least).view(*placed, head_dim)
        levels[:, :, begin:, number] = (total.log() + largest).view(placed)
    levels -= (keys @ first.unsqueeze(-1)).squeeze(-1)
    return Tangents(keys.mul_(call.scale), values, levels)


def _join(q: Tensor, tangents: Tangents, side: int, output: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    """Output and LSE of some rows with their tangents."""
    tokens, rows = q.shape[2], tangents.keys.shape[2]
    q, own, computed = (
        pad(x, (0, 0, 0, rows * side - tokens)).unflatten(2, (rows, side)) if rows * side > tokens
        else x.unflatten(2, (rows, side))
        for x in (q.to(tangents.keys.dtype), lse.unsqueeze(-1), output)
    )  # fmt: skip
    own = own.mT
    # [batch, heads, rows, stretches, side]: queries lie side by side where sums over the few stretches are taken.
    scores = torch.matmul(tangents.keys, q.mT).add_(tangents.levels.unsqueeze(-1))
    largest = torch.maximum(scores.amax(-2, keepdim=True), own)
    weights, mine = scores.sub_(largest).exp_(), (own - largest).exp()
    total = weights.sum(-2, keepdim=True).add_(mine)
    answer = torch.matmul(weights.div_(total).mT, tangents.values)
    joined = answer.addcmul_(computed.to(answer.dtype), mine.div_(total).mT)
    both = total.log_().add_(largest).flatten(2)[:, :, :tokens]
    return joined.flatten(2, 3)[:, :, :tokens].to(output.dtype), both.to(lse.dtype)


def _density(mask: BlockMask, left_out: Tensor, stretch: int) -> Tensor:
    """One query of a row over all it leaves out, and every query over a tangent a stretch."""
    attended = (left_out * mask.key_sizes).sum(-1)
    columns = pad(left_out, (0, -left_out.shape[-1] % stretch)).unflatten(-1, (-1, stretch))
    answered = columns.any(-1).sum(-1) * mask.query_sizes
    return (attended + answered).sum(-1).double() / mask.pairs.sum()
