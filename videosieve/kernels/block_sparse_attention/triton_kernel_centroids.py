"""The part of the attention kernel in which centroids answer for the key blocks that a row leaves out."""

import triton
import triton.language as tl

LOG2_OF_E = tl.constexpr(1.4426950408889634)


@triton.jit
def load_centroids(means, stride, column, valid, FIRST: tl.constexpr, D: tl.constexpr):
    """[BN, D] values of chosen centroids from value FIRST on; those that are not valid are zeros."""
    pointers = means + column.to(tl.int64)[:, None] * stride + (FIRST + tl.arange(0, D))[None, :]
    return tl.load(pointers, mask=valid[:, None], other=0.0)


@triton.jit
def attend_centroids(
    state,
    query,
    centroids,
    log_sizes,
    listed,
    count,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Fold the `count` centroids whose columns are listed into (acc1, acc2, pivot, total), BN at a time.

    No listed block is empty, so every step has a finite score.
    """
    acc1, acc2, pivot, total = state
    q1, q2 = query
    keys, key_stride, values, value_stride = centroids
    for first in tl.range(0, count, BN, num_stages=1):
        place = first + tl.arange(0, BN)
        valid = place < count
        column = tl.load(listed + place, mask=valid, other=0)
        k1 = load_centroids(keys, key_stride, column, valid, 0, D1)
        scores = tl.dot(q1, k1.T, input_precision=PRECISION)
        if D2 > 0:
            k2 = load_centroids(keys, key_stride, column, valid, D1, D2)
            scores = tl.dot(q2, k2.T, scores, input_precision=PRECISION)
        bias = tl.load(log_sizes + column, mask=valid, other=-float("inf")) * LOG2_OF_E
        scores = scores * factor + bias[None, :]
        new_pivot = tl.maximum(pivot, tl.max(scores, 1))
        weights = tl.exp2(scores - new_pivot[:, None])
        kept = tl.exp2(pivot - new_pivot)
        total = total * kept + tl.sum(weights, 1)
        pivot = new_pivot
        v1 = load_centroids(values, value_stride, column, valid, 0, D1)
        weights = weights.to(v1.dtype)
        acc1 = tl.dot(weights, v1, acc1 * kept[:, None], input_precision=PRECISION)
        if D2 > 0:
            v2 = load_centroids(values, value_stride, column, valid, D1, D2)
            acc2 = tl.dot(weights, v2, acc2 * kept[:, None], input_precision=PRECISION)
    return acc1, acc2, pivot, total
