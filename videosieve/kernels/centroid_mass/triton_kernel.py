"""Centroid mass in Triton: a program walks the queries of one block, and for each tile of them all centroids twice."""

import triton
import triton.language as tl


@triton.jit
def score_columns(
    query, keys, stride, log_sizes, first, columns, head_dim, factor, BN: tl.constexpr, D: tl.constexpr
):  # fmt: skip
    """[BM, BN] scores in units of log 2, −inf past the last column."""
    column = first + tl.arange(0, BN)
    inside = column < columns
    value = tl.arange(0, D)[None, :]
    pointers = keys + column.to(tl.int64)[:, None] * stride + value
    key = tl.load(pointers, mask=inside[:, None] & (value < head_dim), other=0.0)
    bias = tl.load(log_sizes + column, mask=inside, other=-float("inf")) * 1.4426950408889634
    return tl.dot(query, key.T) * factor + bias[None, :]


@triton.jit
def centroid_mass_kernel(
    q, keys, log_sizes, offsets, order, mass, heads, rows, columns, head_dim, factor, q_strides, key_strides,
    size_lanes, offset_lanes, order_lanes, ORDERED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    D: tl.constexpr,
):  # fmt: skip
    """One row of mass [batch, heads, rows, columns], contiguous. Strides are (batch, head, token)."""
    row, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    batch, head = lane // heads, lane % heads
    offsets += batch * offset_lanes[0] + head * offset_lanes[1] + row
    start, stop = tl.load(offsets).to(tl.int32), tl.load(offsets + 1).to(tl.int32)
    q += batch * q_strides[0] + head * q_strides[1]
    keys += batch * key_strides[0] + head * key_strides[1]
    log_sizes += batch * size_lanes[0] + head * size_lanes[1]
    mass += (lane * rows + row) * columns
    if ORDERED:
        order += batch * order_lanes[0] + head * order_lanes[1]
    value = tl.arange(0, D)[None, :]
    step = tl.arange(0, BN)
    if start == stop:
        for first in tl.range(0, columns, BN):
            tl.store(mass + first + step, tl.zeros((BN,), tl.float32), mask=first + step < columns)
    for tile in tl.range(start, stop, BM):
        place = tile + tl.arange(0, BM)
        inside = place < stop
        token = place
        if ORDERED:
            token = tl.load(order + place, mask=inside, other=0)
        pointers = q + token.to(tl.int64)[:, None] * q_strides[2] + value
        query = tl.load(pointers, mask=inside[:, None] & (value < head_dim), other=0.0)
        largest = tl.full((BM,), -float("inf"), tl.float32)
        total = tl.zeros((BM,), tl.float32)
        for first in tl.range(0, columns, BN):
            scores = score_columns(
                query, keys, key_strides[2], log_sizes, first, columns, head_dim, factor, BN, D
            )
            raised = tl.maximum(largest, tl.max(scores, 1))
            pivot = tl.where(raised == -float("inf"), 0.0, raised)
            total = total * tl.exp2(largest - pivot) + tl.sum(tl.exp2(scores - pivot[:, None]), 1)
            largest = raised
        pivot = tl.where(largest == -float("inf"), 0.0, largest)
        share = tl.where(
            inside & (total > 0.0), 1.0 / ((stop - start) * tl.where(total > 0.0, total, 1.0)), 0.0
        )
        for first in tl.range(0, columns, BN):
            scores = score_columns(
                query, keys, key_strides[2], log_sizes, first, columns, head_dim, factor, BN, D
            )
            part = tl.sum(tl.exp2(scores - pivot[:, None]) * share[:, None], 0)
            there = first + step < columns
            before = tl.load(
                mass + first + step, mask=there, other=0.0
            )  # of the first tile: whatever was there
            tl.store(mass + first + step, tl.where(tile > start, before + part, part), mask=there)
        tl.debug_barrier()  # the next tile reads what other threads of this program may have written
