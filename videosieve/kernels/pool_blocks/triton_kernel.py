"""Pooling in Triton: a program reads the tokens of one block, twice; the second time they come from the cache."""

import triton
import triton.language as tl


@triton.jit
def read_tokens(
    x, stride, start, stop, order, head_dim, ORDERED: tl.constexpr, BT: tl.constexpr, D: tl.constexpr
):
    """[BT, D] fp32 tokens at places start … stop − 1 and which of them are there; the others are zeros."""
    place = start + tl.arange(0, BT)
    inside = place < stop
    token = place
    if ORDERED:
        token = tl.load(order + place, mask=inside, other=0)
    column = tl.arange(0, D)[None, :]
    pointers = x + token.to(tl.int64)[:, None] * stride + column
    values = tl.load(pointers, mask=inside[:, None] & (column < head_dim), other=0.0)
    return values.to(tl.float32), inside


@triton.jit
def pool_blocks_kernel(
    x, offsets, order, means, spreads, heads, blocks, head_dim, x_strides, offset_lanes, order_lanes,
    ORDERED: tl.constexpr, BT: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Mean and spread of one block. Strides are (batch, head, token); lanes are (batch, head) steps between lists."""
    block, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    batch, head = lane // heads, lane % heads
    offsets += (batch * offset_lanes[0] + head * offset_lanes[1]) + block
    start, stop = tl.load(offsets).to(tl.int32), tl.load(offsets + 1).to(tl.int32)
    x += batch * x_strides[0] + head * x_strides[1]
    if ORDERED:
        order += batch * order_lanes[0] + head * order_lanes[1]
    size = tl.maximum(stop - start, 1).to(tl.float32)
    total = tl.zeros((D,), tl.float32)
    for first in tl.range(start, stop, BT):
        values, _ = read_tokens(x, x_strides[2], first, stop, order, head_dim, ORDERED, BT, D)
        total += tl.sum(values, 0)
    mean = total / size
    away = tl.zeros((D,), tl.float32)
    for first in tl.range(start, stop, BT):
        values, inside = read_tokens(x, x_strides[2], first, stop, order, head_dim, ORDERED, BT, D)
        off = tl.where(inside[:, None], values - mean[None, :], 0.0)
        away += tl.sum(off * off, 0)
    column = tl.arange(0, D)
    at = lane * blocks + block
    tl.store(means + at * head_dim + column, mean.to(means.dtype.element_ty), mask=column < head_dim)
    tl.store(spreads + at, tl.sum(away, 0) / size)
