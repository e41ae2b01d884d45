"""Block-sparse attention in Triton: one program attends one tile of queries to the kept key blocks, listed one by one.

Names as in FlashAttention: BM queries × BN keys per step, online softmax in base 2 (Dao et al., arXiv:2205.14135).
The values of a head are cut into two powers of two, D1 + D2, so that a head_dim of 96 costs 64 + 32 columns, not 128.
"""

import triton
import triton.language as tl

from videosieve.kernels.block_sparse_attention.triton_kernel_causal import attend_causal
from videosieve.kernels.block_sparse_attention.triton_kernel_centroids import attend_centroids
from videosieve.kernels.block_sparse_attention.triton_kernel_store import store_lse, store_tile
from videosieve.kernels.block_sparse_attention.triton_kernel_tiles import (
    attend_tile,
    load_values,
    token_pointers,
)


@triton.jit
def attend_uniform(
    state,
    query,
    key,
    kept,
    count,
    keys,
    columns,
    k_scales,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    SIDE: tl.constexpr,
    WHOLE_KEYS: tl.constexpr,
    ORDERED: tl.constexpr,
    SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """All kept blocks of SIDE keys. Only the last block of the sequence may be partial; it comes last in the list."""
    TILES: tl.constexpr = SIDE // BN
    TAIL: tl.constexpr = min(BN, 32)  # narrow, so that this loop does not set the registers of the other
    whole = count
    if not WHOLE_KEYS:
        last = tl.load(kept + tl.maximum(count - 1, 0), mask=count > 0, other=0)
        whole = tl.where((count > 0) & (last == columns - 1), count - 1, count)
    for step in tl.range(0, whole * TILES):
        block = tl.load(kept + step // TILES)
        start = block * SIDE + (step % TILES) * BN
        tile_factor = factor
        if SCALED:
            tile_factor = factor * tl.load(k_scales + block)
        state = attend_tile(
            state, query, key, start, keys, tile_factor, BN, D1, D2, False, ORDERED, PRECISION
        )
    if not WHOLE_KEYS:
        tile_factor = factor
        if SCALED:
            tile_factor = factor * tl.load(k_scales + columns - 1)
        first = tl.where(whole < count, (columns - 1) * SIDE, keys)
        for step in tl.range(0, (keys - first + TAIL - 1) // TAIL, num_stages=1):
            start = first + step * TAIL
            state = attend_tile(
                state, query, key, start, keys, tile_factor, TAIL, D1, D2, True, ORDERED, PRECISION
            )
    return state


@triton.jit
def attend_ragged(
    state,
    query,
    key,
    kept,
    steps,
    offsets,
    factor,
    BN: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    ORDERED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """All kept blocks, each above zero keys, in `steps` tiles: one loop, so that loads run ahead across blocks."""
    place = 0
    block = tl.load(kept, mask=steps > 0, other=0)
    start, stop = tl.load(offsets + block), tl.load(offsets + block + 1)
    for step in tl.range(0, steps):
        state = attend_tile(state, query, key, start, stop, factor, BN, D1, D2, True, ORDERED, PRECISION)
        start += BN
        done = (start >= stop) & (step + 1 < steps)
        place += done.to(tl.int32)
        block = tl.load(kept + place, mask=done, other=0)
        start = tl.where(done, tl.load(offsets + block), start)
        stop = tl.where(done, tl.load(offsets + block + 1), stop)
    return state


@triton.jit
def attend_blocks(
    q,
    k,
    v,
    out,
    lse,
    indices,
    counts,
    jobs,
    whole_counts,
    group,
    tile_rows,
    tile_starts,
    query_offsets,
    key_offsets,
    query_order,
    key_order,
    q_scales,
    k_scales,
    centroid_keys,
    centroid_values,
    log_sizes,
    answer_indices,
    answer_counts,
    answered_lse,
    factor,
    heads,
    queries,
    keys,
    rows,
    columns,
    tiles,
    q_strides,
    k_strides,
    v_strides,
    out_strides,
    centroid_strides,
    size_lanes,
    answer_lanes,
    mask_lanes,
    query_order_lanes,
    key_order_lanes,
    D1: tl.constexpr,
    D2: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    QUERY_SIDE: tl.constexpr,
    KEY_SIDE: tl.constexpr,
    WHOLE_KEYS: tl.constexpr,
    RAGGED: tl.constexpr,
    CAUSAL: tl.constexpr,
    QUERY_ORDERED: tl.constexpr,
    KEY_ORDERED: tl.constexpr,
    SCALED: tl.constexpr,
    ANSWERED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Attention of one query tile; `work.py` makes the lists, `triton.py` the other arguments.

    Strides are (batch, head, token) in values; lanes are (batch, head) strides of lists, 0 where an axis is shared.
    """
    job = tl.load(jobs + tl.program_id(0))
    lane, tile = job // tiles, job % tiles
    batch, head = (lane // heads).to(tl.int64), (lane % heads).to(tl.int64)
    mask_lane = batch * mask_lanes[0] + head * mask_lanes[1]
    if RAGGED:
        row = tl.load(tile_rows + mask_lane * tiles + tile)
        start = tl.load(tile_starts + mask_lane * tiles + tile)
        stop = tl.load(query_offsets + mask_lane * (rows + 1) + row + 1)
    else:
        row = tile // (QUERY_SIDE // BM)
        start = tile * BM
        stop = queries
    if start >= stop:  # ragged: a tile that this head does not fill; uniform: past the end of a partial block
        return
    stored = start + tl.arange(0, BM) < stop
    if QUERY_ORDERED:
        query_order += (batch * query_order_lanes[0] + head * query_order_lanes[1]) * queries
    if KEY_ORDERED:
        key_order += (batch * key_order_lanes[0] + head * key_order_lanes[1]) * keys
    q += batch * q_strides[0] + head * q_strides[1]
    k += batch * k_strides[0] + (head // group) * k_strides[1]
    v += batch * v_strides[0] + (head // group) * v_strides[1]
    out += batch * out_strides[0] + head * out_strides[1]
    lse += lane.to(tl.int64) * queries
    q_tokens = token_pointers(q, q_strides[2], start, stored, query_order, BM, QUERY_ORDERED)
    q1 = load_values(q_tokens, stored, 0, D1, True)
    q2 = q1
    if D2 > 0:
        q2 = load_values(q_tokens, stored, D1, D2, True)
    kept = indices + (mask_lane * rows + row) * columns
    count = tl.load(counts + mask_lane * rows + row)
    if SCALED:
        factor *= tl.load(q_scales + lane.to(tl.int64) * rows + row)
        k_scales += lane.to(tl.int64) * columns
    key = k, k_strides[2], v, v_strides[2], key_order
    acc1 = tl.zeros((BM, D1), tl.float32)
    acc2 = tl.zeros((BM, D2 if D2 > 0 else D1), tl.float32)
    state = acc1, acc2, tl.full((BM,), -float("inf"), tl.float32), tl.zeros((BM,), tl.float32)
    if RAGGED:
        key_offsets += mask_lane * (columns + 1)
        state = attend_ragged(
            state, (q1, q2), key, kept, count, key_offsets, factor, BN, D1, D2, KEY_ORDERED, PRECISION
        )
    elif CAUSAL:
        whole = tl.load(whole_counts + mask_lane * rows + row)
        own = start + tl.arange(0, BM) + (keys - queries)
        state = attend_causal(
            state, (q1, q2), key, kept, whole, count, own, keys, factor, BN, D1, D2, KEY_SIDE, PRECISION
        )
    else:
        state = attend_uniform(
            state, (q1, q2), key, kept, count, keys, columns, k_scales, factor, BN, D1, D2,
            KEY_SIDE, WHOLE_KEYS, KEY_ORDERED, SCALED, PRECISION,
        )  # fmt: skip
    if ANSWERED:
        store_lse(state, token_pointers(lse, 1, start, stored, query_order, BM, QUERY_ORDERED), stored)
        lse = answered_lse + lane.to(tl.int64) * queries
        at = (batch * answer_lanes[0] + head * answer_lanes[1]) * rows + row
        centroid_keys += batch * centroid_strides[0] + head * centroid_strides[1]
        centroid_values += batch * centroid_strides[3] + head * centroid_strides[4]
        centroids = centroid_keys, centroid_strides[2], centroid_values, centroid_strides[5]
        log_sizes += (batch * size_lanes[0] + head * size_lanes[1]) * columns
        state = attend_centroids(
            state, (q1, q2), centroids, log_sizes, answer_indices + at * columns, tl.load(answer_counts + at),
            factor, min(BN, 32), D1, D2, PRECISION,
        )  # fmt: skip
    out_tokens = token_pointers(out, out_strides[2], start, stored, query_order, BM, QUERY_ORDERED)
    lse_tokens = token_pointers(lse, 1, start, stored, query_order, BM, QUERY_ORDERED)
    store_tile(state, out_tokens, lse_tokens, stored, D1, D2)
