"""Causal attention: whole blocks in the past, then those of which some queries see some keys and others none."""

import triton
import triton.language as tl

from videosieve.kernels.block_sparse_attention.triton_kernel_tiles import (
    attend_tile,
    load_values,
    token_pointers,
)


@triton.jit
def mask_ahead(scores, start, own, keys, factor, pivot, total, BN: tl.constexpr):
    """Fold a tile of scores into the running softmax, of every query the keys up to its own alone.

    A query may see no key of the tile, and of no tile before: its pivot then stays −inf, and nothing is added.
    """
    place = start + tl.arange(0, BN)
    seen = (place[None, :] <= own[:, None]) & (place[None, :] < keys)
    scores = tl.where(seen, scores, -float("inf"))
    new_pivot = tl.maximum(pivot, tl.max(scores, 1) * factor)
    finite = tl.where(new_pivot == -float("inf"), 0.0, new_pivot)
    weights = tl.exp2(scores * factor - finite[:, None])
    shrink = tl.exp2(pivot - finite)
    return weights, shrink, new_pivot, total * shrink + tl.sum(weights, 1)


@triton.jit
def attend_border(
    state,
    query,
    key,
    start,
    own,
    keys,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Fold keys start … start + BN − 1, of every query those alone up to its own key."""
    acc1, acc2, pivot, total = state
    q1, q2 = query
    k, k_stride, v, v_stride, order = key
    valid = start + tl.arange(0, BN) < keys
    k_tokens = token_pointers(k, k_stride, start, valid, order, BN, False)
    scores = tl.dot(q1, load_values(k_tokens, valid, 0, D1, True).T, input_precision=PRECISION)
    if D2 > 0:
        scores = tl.dot(q2, load_values(k_tokens, valid, D1, D2, True).T, scores, input_precision=PRECISION)
    weights, shrink, pivot, total = mask_ahead(scores, start, own, keys, factor, pivot, total, BN)
    v_tokens = token_pointers(v, v_stride, start, valid, order, BN, False)
    v1 = load_values(v_tokens, valid, 0, D1, True)
    weights = weights.to(v1.dtype)
    acc1 = tl.dot(weights, v1, acc1 * shrink[:, None], input_precision=PRECISION)
    if D2 > 0:
        v2 = load_values(v_tokens, valid, D1, D2, True)
        acc2 = tl.dot(weights, v2, acc2 * shrink[:, None], input_precision=PRECISION)
    return acc1, acc2, pivot, total


@triton.jit
def attend_causal(
    state,
    query,
    key,
    kept,
    whole,
    count,
    own,
    keys,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    SIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Kept blocks, the `whole` first ones seen by every query, of the others keys up to the query's own key alone."""
    TILES: tl.constexpr = SIDE // BN
    TAIL: tl.constexpr = min(BN, 32)
    for step in tl.range(0, whole * TILES):
        start = tl.load(kept + step // TILES) * SIDE + (step % TILES) * BN
        state = attend_tile(state, query, key, start, keys, factor, BN, D1, D2, False, False, PRECISION)
    for step in tl.range(whole * (SIDE // TAIL), count * (SIDE // TAIL), num_stages=1):
        start = tl.load(kept + step // (SIDE // TAIL)) * SIDE + (step % (SIDE // TAIL)) * TAIL
        if start <= tl.max(own, 0):
            state = attend_border(state, query, key, start, own, keys, factor, TAIL, D1, D2, PRECISION)
    return state
