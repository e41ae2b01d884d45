"""Token reordering in Triton: a program gathers BT rows of one head and writes them next to one another."""

import triton
import triton.language as tl


@triton.jit
def reorder_kernel(
    x, y, order, chosen, tokens, heads, head_dim, x_strides, order_lanes, chosen_lanes,
    CHOSEN: tl.constexpr, BT: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """y[b, h, i] = x[b, h, order[i]]; y is [batch, heads, tokens, head_dim], contiguous.

    Strides are (batch, head, token); lanes are (batch, head) strides, 0 where an axis is shared.
    """
    lane = tl.program_id(1)
    batch, head = (lane // heads).to(tl.int64), (lane % heads).to(tl.int64)
    token = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    values = tl.arange(0, D)[None, :]
    inside = token < tokens
    row = tl.load(order + batch * order_lanes[0] + head * order_lanes[1] + token, mask=inside, other=0)
    if CHOSEN:
        moved = tl.load(chosen + batch * chosen_lanes[0] + head * chosen_lanes[1])
        row = tl.where(moved != 0, row, token)
    keep = inside[:, None] & (values < head_dim)
    source = (
        x + batch * x_strides[0] + head * x_strides[1] + row.to(tl.int64)[:, None] * x_strides[2] + values
    )
    target = y + (lane.to(tl.int64) * tokens + token[:, None]) * head_dim + values
    tl.store(target, tl.load(source, mask=keep), mask=keep)
