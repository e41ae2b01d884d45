"""What compensated attention must compute, in fp64 and as directly as it can be said: small sizes only."""

import torch
from torch import Tensor

from videosieve.kernels import Centroids, Compensated
from videosieve.kernels.centroids import AnyMask
from videosieve.masks.block_mask import BlockMask
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_within, score_rounding


def pool_oracle(x: Tensor, offsets: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and mean squared distance from it of every block, one block at a time.

    Args:
        x: [batch, heads, tokens, head_dim].
        offsets: int64 [batch|1, heads|1, blocks + 1].
        order: int64 [batch, heads, tokens], or None.

    Returns:
        fp64 [batch, heads, blocks, head_dim] and [batch, heads, blocks].
    """
    batch, heads, tokens, head_dim = x.shape
    offsets = offsets.expand(batch, heads, -1)
    means = torch.zeros(batch, heads, offsets.shape[-1] - 1, head_dim, dtype=torch.float64)
    spreads = torch.zeros(means.shape[:3], dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            places = torch.arange(tokens) if order is None else order[b, h]
            for block, (start, stop) in enumerate(offsets[b, h].unfold(0, 2, 1).tolist()):
                if start < stop:
                    part = x[b, h, places[start:stop]].double()
                    means[b, h, block] = part.mean(0)
                    spreads[b, h, block] = (part - part.mean(0)).square().sum(-1).mean()
    return means, spreads


def answers_oracle(mask: AnyMask, answers: Tensor) -> Tensor:
    """Which centroids answer for single queries: bool [batch|1, heads|1, queries, columns], row by row."""
    if isinstance(mask, BlockMask):
        rows = [row // mask.block.query for row in range(mask.queries)]
        return torch.stack([answers[..., row, :] for row in rows], -2)
    lead = torch.broadcast_shapes(answers.shape[:2], mask.query_offsets.shape[:2])
    answers, offsets = answers.expand(*lead, -1, -1), mask.query_offsets.expand(*lead, -1)
    result = torch.zeros(*lead, mask.queries, answers.shape[-1], dtype=torch.bool)
    for b in range(lead[0]):
        for h in range(lead[1]):
            for row, (start, stop) in enumerate(offsets[b, h].unfold(0, 2, 1).tolist()):
                result[b, h, start:stop] = answers[b, h, row]
    return result


def assert_compensated(
    actual: Compensated, q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, scale: float
) -> None:
    """Raise an AssertionError unless output and both LSEs are as near to fp64 as their precision allows.

    A bias ln n on a score is one more value of q, which is 1, and of the key, which is ln n ÷ scale.

    Args:
        actual: Under test; q, k and v are in the order of the mask.
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks.
        centroids: Of its key blocks.
        scale: Factor on every q·k.
    """
    lead = q.shape[:2]
    sizes = centroids.log_sizes.double().expand(*lead, -1)
    real = sizes.isfinite()
    bias = torch.cat([k.new_zeros(*lead, k.shape[2]).double(), sizes.masked_fill(~real, 0.0) / scale], -1)
    keys = torch.cat([k.double(), centroids.keys.double()], 2)
    keys = torch.cat([keys, bias.unsqueeze(-1)], -1)
    values = torch.cat([v.double(), centroids.values.double()], 2)
    queries = torch.cat([q.double(), torch.ones(*q.shape[:3], 1, dtype=torch.float64)], -1)
    pairs = pairs_oracle(mask).expand(*lead, -1, -1)
    answers = answers_oracle(mask, centroids.answers(mask)).expand(*lead, -1, -1) & real.unsqueeze(-2)
    everything = torch.cat([pairs, answers], -1)
    output, both = attention_oracle(queries, keys, values, everything, scale)
    _, lse = attention_oracle(q, k, v, pairs, scale)
    rough = _plain(q, k, v, centroids, everything, scale)
    slack = score_rounding(queries, keys, values, everything, scale)
    _within(actual.output, rough[0], output, everything.any(-1), "output", slack)
    _within(actual.answered_lse, rough[2], both, everything.any(-1), "answered LSE", 0.0)
    _within(actual.lse, rough[1], lse, pairs.any(-1), "LSE", 0.0)


def _plain(
    q: Tensor, k: Tensor, v: Tensor, centroids: Centroids, everything: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, LSE and answered LSE in the precision of the inputs: weights rounded to it, sums in fp32."""
    wide, kept = torch.promote_types(q.dtype, torch.float32), k.shape[2]
    keys, values = torch.cat([k, centroids.keys], 2), torch.cat([v, centroids.values], 2).to(wide)
    scores = q.to(wide) @ keys.to(wide).mT * scale
    scores[..., kept:] += centroids.log_sizes.to(wide).unsqueeze(-2)
    scores = scores.masked_fill(~everything, -torch.inf)
    lses = scores[..., :kept].logsumexp(-1), scores.logsumexp(-1)
    weights = (scores - scores.amax(-1, keepdim=True)).exp().to(v.dtype).to(wide)
    return (weights @ values / weights.sum(-1, keepdim=True)).to(v.dtype), *lses


def _within(actual: Tensor, rough: Tensor, exact: Tensor, there: Tensor, name: str, slack: float) -> None:
    empty = 0.0 if name == "output" else -torch.inf
    if not bool((actual[~there] == empty).all()):
        raise AssertionError(f"a query without keys must have {name} {empty}, got {actual[~there]}")
    if there.any():
        least = 0.0 if name == "output" else 1.0
        assert_within(actual[there], rough[there], exact[there], name, least, slack)
