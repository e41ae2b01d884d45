"""Attention of sampled rows in Triton: one pass over K and V gives the full output and that under each mask.

Online softmax in base 2, one running maximum per output: the kept keys of a row may lie far below its largest score.
The keys are cut into stretches, whose outputs and LSE the launcher joins.
"""

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def load_rows(base, rows, stride, count, head_dim, D: tl.constexpr):
    """[rows, D] values of the given tokens; tokens past `count` and values past head_dim are zeros."""
    values = tl.arange(0, D)[None, :]
    keep = (rows < count)[:, None] & (values < head_dim)
    return tl.load(base + rows.to(tl.int64)[:, None] * stride + values, mask=keep, other=0.0)


@triton.jit
def fold(state, scores, value):
    """Fold scores [BM, BN] in base 2 and values [BN, D] into (sums, pivot, total); a score of −inf is no key."""
    sums, pivot, total = state
    highest = tl.maximum(pivot, tl.max(scores, 1))
    safe = tl.where(highest == -float("inf"), 0.0, highest)
    weights = tl.exp2(scores - safe[:, None])
    kept = tl.exp2(pivot - safe)
    sums = tl.dot(weights.to(value.dtype), value, sums * kept[:, None])
    return sums, highest, total * kept + tl.sum(weights, 1)


@triton.jit
def kept_pairs(mask, strides, batch, head, row, key, rows, keys):
    """[BM, BN] of a mask with strides (batch, head, row, key)."""
    at = (
        batch * strides[0]
        + head * strides[1]
        + row.to(tl.int64)[:, None] * strides[2]
        + key[None, :] * strides[3]
    )
    return tl.load(mask + at, mask=(row < rows)[:, None] & (key < keys)[None, :], other=0) != 0


@triton.jit
def store_state(state, out, lse, lane, row, rows, head_dim, D: tl.constexpr):
    """Write output and LSE of one stretch; rows that kept nothing get 0 and −inf."""
    sums, pivot, total = state
    values = tl.arange(0, D)[None, :]
    empty = total == 0.0
    full = tl.where(empty, 1.0, total)
    place = lane * rows + row
    tl.store(lse + place, tl.where(empty, -float("inf"), (pivot + tl.log2(full)) * LN2), mask=row < rows)
    keep = (row < rows)[:, None] & (values < head_dim)
    tl.store(out + place[:, None] * head_dim + values, sums / full[:, None], mask=keep)


@triton.jit
def sampled_kernel(
    q, k, v, mask_1, mask_2, out, lse, rows, keys, heads, lanes, head_dim, stretches, factor, q_strides, k_strides,
    v_strides, mask_1_strides, mask_2_strides, MASKS: tl.constexpr, STRETCH_TILES: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """BM sampled rows of one head against one stretch of keys.

    out is [1 + MASKS, stretches, batch · heads, rows, head_dim] and lse likewise without head_dim, fp32, contiguous.
    Strides are (batch, head, token), those of the masks (batch, head, row, key); `factor` includes log2 e.
    """
    lane, stretch = tl.program_id(2).to(tl.int64), tl.program_id(1)
    batch, head = lane // heads, lane % heads
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    query = load_rows(q + batch * q_strides[0] + head * q_strides[1], row, q_strides[2], rows, head_dim, D)
    k += batch * k_strides[0] + head * k_strides[1]
    v += batch * v_strides[0] + head * v_strides[1]
    none, start = tl.full((BM,), -float("inf"), tl.float32), tl.zeros((BM, D), tl.float32)
    full = start, none, tl.zeros((BM,), tl.float32)
    first = start, none, tl.zeros((BM,), tl.float32)
    second = start, none, tl.zeros((BM,), tl.float32)
    begin = stretch.to(tl.int64) * STRETCH_TILES * BN
    for place in tl.range(begin, tl.minimum(begin + STRETCH_TILES * BN, keys), BN):
        key = place + tl.arange(0, BN)
        keys_tile = load_rows(k, key, k_strides[2], keys, head_dim, D)
        value = load_rows(v, key, v_strides[2], keys, head_dim, D)
        scores = tl.dot(query, keys_tile.T) * factor
        scores = tl.where((key < keys)[None, :], scores, -float("inf"))
        full = fold(full, scores, value)
        kept = kept_pairs(mask_1, mask_1_strides, batch, head, row, key, rows, keys)
        first = fold(first, tl.where(kept, scores, -float("inf")), value)
        if MASKS > 1:
            kept = kept_pairs(mask_2, mask_2_strides, batch, head, row, key, rows, keys)
            second = fold(second, tl.where(kept, scores, -float("inf")), value)
    at = stretch * lanes + lane
    store_state(full, out, lse, at, row, rows, head_dim, D)
    store_state(first, out, lse, at + stretches * lanes, row, rows, head_dim, D)
    if MASKS > 1:
        store_state(second, out, lse, at + 2 * stretches * lanes, row, rows, head_dim, D)
