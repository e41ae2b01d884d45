"""What compensated attention must compute, in fp64 and as directly as it can be said: small sizes only."""

from dataclasses import replace

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.kernels import Centroids, Compensated, Pooled
from videosieve.kernels.centroid_mass import reference as mass_reference
from videosieve.kernels.centroids import AnyMask
from videosieve.kernels.pool_blocks import reference as pool_reference
from videosieve.masks.block_mask import BlockMask
from videosieve.testing.oracles import attention_oracle, mask_on_cpu, ordered, pairs_oracle
from videosieve.testing.tolerances import (
    assert_fp8_attention,
    assert_within,
    require,
    score_rounding,
    weight_rounding,
)


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
    actual: Compensated,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    scale: float,
    slack: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Raise an AssertionError unless output and both LSEs are as near to fp64 as their precision allows.

    A bias ln n on a score is one more value of the key, ln n, and of q, which is 1 where the others are scaled.

    Args:
        actual: Under test; q, k and v are in the order of the mask.
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks.
        centroids: Of its key blocks.
        scale: Factor on every q·k.
        slack: What else the output may be off, and the LSEs, of kernels that sum rounded weights.
    """
    queries, keys, values, everything, pairs = _as_one(q, k, v, mask, centroids, scale)
    output, both = attention_oracle(queries, keys, values, everything, 1.0)
    _, lse = attention_oracle(q, k, v, pairs, scale)
    rough = _plain(q, k, v, centroids, everything, scale)
    moved = slack[0] + score_rounding(queries, keys, values, everything, 1.0)
    _within(actual.output, rough[0], output, everything.any(-1), "output", moved)
    _within(actual.answered_lse, rough[2], both, everything.any(-1), "answered LSE", slack[1])
    _within(actual.lse, rough[1], lse, pairs.any(-1), "LSE", slack[1])


def _as_one(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys and values in fp64 with centroids as further keys, the pairs of all and of the keys; scale 1."""
    lead = q.shape[:2]
    sizes = centroids.log_sizes.double().expand(*lead, -1)
    real = sizes.isfinite()
    bias = torch.cat([k.new_zeros(*lead, k.shape[2]).double(), sizes.masked_fill(~real, 0.0)], -1)
    keys = torch.cat([k.double(), centroids.keys.double()], 2)
    keys = torch.cat([keys, bias.unsqueeze(-1)], -1)
    values = torch.cat([v.double(), centroids.values.double()], 2)
    queries = torch.cat([q.double() * scale, torch.ones(*q.shape[:3], 1, dtype=torch.float64)], -1)
    pairs = pairs_oracle(mask).expand(*lead, -1, -1)
    answers = answers_oracle(mask, centroids.answers(mask)).expand(*lead, -1, -1) & real.unsqueeze(-2)
    everything = torch.cat([pairs, answers], -1)
    return queries, keys, values, everything, pairs


def judge_compensated_attention(
    result: Compensated,
    backend: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    scale: float | None = None,
    **orders: Tensor | None,
) -> None:
    """Output and both LSEs against fp64, in the order of the mask."""
    require(result.output.dtype == q.dtype, f"output is {result.output.dtype} for inputs of {q.dtype}")
    q, k, v = (x.cpu() for x in (q, k, v))
    output, *lses = (x.cpu() if x.ndim == 4 else x.cpu().unsqueeze(-1) for x in result)
    q, output, *lses = (ordered(x, orders.get("query_order")) for x in (q, output, *lses))
    k, v = (ordered(x, orders.get("key_order")) for x in (k, v))
    tables = (centroids.keys, centroids.values, centroids.log_sizes, centroids.allowed)
    centroids = Centroids(*(None if x is None else x.cpu() for x in tables))  # type: ignore[arg-type]
    if backend == "native-bf16":  # what bf16 tensors would give: the rounding is the whole difference
        q, k, v, output, keys, values = (
            x.bfloat16() for x in (q, k, v, output, centroids.keys, centroids.values)
        )
        centroids = replace(centroids, keys=keys, values=values)
    actual = Compensated(output, *(lse.squeeze(-1) for lse in lses))
    half = weight_rounding(q.dtype)
    # Where another kernel's result is joined with that of the centroids, both are rounded once more.
    slack = 4 * half * float(torch.cat([v, centroids.values], 2).abs().max())
    joined = 0.0 if backend in ("triton", "native", "native-bf16", "reference") else slack
    scale = resolve_scale(scale, q.shape[-1])
    if backend == "triton-fp8":
        queries, keys, values, pairs, _ = _as_one(q, k, v, mask_on_cpu(mask), centroids, scale)
        assert_fp8_attention((actual.output, actual.answered_lse), queries, keys, values, pairs, 1.0, q.dtype)
    else:
        assert_compensated(actual, q, k, v, mask_on_cpu(mask), centroids, scale, (joined, half))


def judge_pool_blocks(
    result: Pooled, backend: str, x: Tensor, offsets: Tensor, order: Tensor | None = None
) -> None:
    """Means and spreads of all blocks against loops in fp64."""
    del backend
    x, offsets, means, spreads = (y.cpu() for y in (x, offsets, *result))
    wide = torch.promote_types(x.dtype, torch.float32)
    require((means.dtype, spreads.dtype) == (x.dtype, wide), f"got {means.dtype} and {spreads.dtype}")
    order = None if order is None else order.cpu().expand(x.shape[:3])
    exact = pool_oracle(x, offsets, order)
    rough = pool_reference.pool_blocks(x.to(wide), offsets, order)
    assert_within(means, rough[0].to(x.dtype), exact[0], "means", float(x.abs().max()))
    # Squares of values that are rounded when the mean is taken from them.
    assert_within(spreads, rough[1], exact[1], "spreads", float(x.double().square().sum(-1).max()))


def judge_centroid_mass(
    result: Tensor,
    backend: str,
    q: Tensor,
    keys: Tensor,
    log_sizes: Tensor,
    offsets: Tensor,
    scale: float | None = None,
    order: Tensor | None = None,
) -> None:
    """Masses [batch, heads, rows, columns] against fp64."""
    del backend
    scale = resolve_scale(scale, q.shape[-1])
    q, keys, log_sizes, offsets, result = (x.cpu() for x in (q, keys, log_sizes, offsets, result))
    order = None if order is None else order.cpu()
    wide = torch.promote_types(q.dtype, torch.float32)
    mass = mass_reference.centroid_mass
    exact = mass(q.double(), keys.double(), log_sizes.double(), offsets, scale, order)
    rough = mass(q.to(wide), keys.to(wide), log_sizes.to(wide), offsets, scale, order)
    require(result.shape == exact.shape, f"mass must be {list(exact.shape)}, got {list(result.shape)}")
    # A score and ln n are rounded before their sum, less the largest, becomes an exponent.
    size = abs(scale) * float((q.double().abs().amax(2) * keys.double().abs().amax(2)).sum(-1).max())
    size += float(log_sizes.double().masked_fill(log_sizes.isneginf(), 0.0).abs().max())
    slack = 2 * torch.finfo(wide).eps * size * float(exact.max())
    assert_within(result, rough, exact, "mass", slack=slack)


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
