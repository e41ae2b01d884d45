"""One step of attention: a tile of keys into the running softmax of a tile of queries."""

import triton
import triton.language as tl


@triton.jit
def online_softmax_update(scores, factor, pivot, total):
    """Fold a tile of scores into the running softmax: weights, share that the old sums keep, new pivot, new total.

    `factor` is positive and turns scores into exponents of two. Every tile holds a valid key, so the pivot is finite.
    """
    new_pivot = tl.maximum(pivot, tl.max(scores, 1) * factor)
    weights = tl.exp2(scores * factor - new_pivot[:, None])
    kept = tl.exp2(pivot - new_pivot)
    return weights, kept, new_pivot, total * kept + tl.sum(weights, 1)


@triton.jit
def token_pointers(base, stride, start, valid, order, COUNT: tl.constexpr, ORDERED: tl.constexpr):
    """[COUNT, 1] pointers to the tokens at places start … of the sequence, wherever `order` says they lie."""
    places = tl.arange(0, COUNT)
    if ORDERED:
        rows = tl.load(order + start + places, mask=valid, other=0)
        return base + rows.to(tl.int64)[:, None] * stride
    return base + start.to(tl.int64) * stride + (places * stride)[:, None]


@triton.jit
def load_values(tokens, valid, FIRST: tl.constexpr, D: tl.constexpr, MASKED: tl.constexpr):
    """[tokens, D] values from column FIRST on; tokens that are not valid are zeros, where MASKED."""
    pointers = tokens + (FIRST + tl.arange(0, D))[None, :]
    if MASKED:
        return tl.load(pointers, mask=valid[:, None], other=0.0)
    return tl.load(pointers)


@triton.jit
def attend_tile(
    state,
    query,
    key,
    start,
    stop,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    MASKED: tl.constexpr,
    ORDERED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Fold keys start … start + BN − 1, where MASKED only those before `stop`, into (acc1, acc2, pivot, total)."""
    acc1, acc2, pivot, total = state
    q1, q2 = query
    k, k_stride, v, v_stride, order = key
    valid = start + tl.arange(0, BN) < stop
    k_tokens = token_pointers(k, k_stride, start, valid, order, BN, ORDERED)
    k1 = load_values(k_tokens, valid, 0, D1, MASKED)
    scores = tl.dot(q1, k1.T, input_precision=PRECISION)  # [BM, BN] scores
    if D2 > 0:
        k2 = load_values(k_tokens, valid, D1, D2, MASKED)
        scores = tl.dot(q2, k2.T, scores, input_precision=PRECISION)
    if MASKED:
        scores = tl.where(valid[None, :], scores, -float("inf"))
    weights, kept, pivot, total = online_softmax_update(scores, factor, pivot, total)
    v_tokens = token_pointers(v, v_stride, start, valid, order, BN, ORDERED)
    v1 = load_values(v_tokens, valid, 0, D1, MASKED)
    weights = weights.to(v1.dtype)
    acc1 = tl.dot(weights, v1, acc1 * kept[:, None], input_precision=PRECISION)
    if D2 > 0:
        v2 = load_values(v_tokens, valid, D1, D2, MASKED)
        acc2 = tl.dot(weights, v2, acc2 * kept[:, None], input_precision=PRECISION)
    return acc1, acc2, pivot, total
