"""Norm, rotary positions, token order and fp8 of q and k in one Triton kernel.

A program takes BT tokens and walks over their heads, BH at a time, so that the cosines are read once per token for all
heads of q and of k, and a norm across heads finds its whole row in one program. Rows are read in memory order; a token
order is applied where they are written, in runs of D values. So the kernel is given the inverse of the order.
"""

import triton
import triton.language as tl


@triton.jit
def sum_across_heads(
    x, mean, inside, stride, heads, CENTRED: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr, D: tl.constexpr
):
    """Σ x, or Σ (x − mean)² where CENTRED, over all heads of every token: [BT, 1, 1] in fp32."""
    total = tl.zeros((BT, BH, D), tl.float32)
    lanes, values = tl.arange(0, BH)[None, :, None], tl.arange(0, D)[None, None, :]
    for head in tl.range(0, heads, BH):
        lane = head + lanes
        keep = inside & (lane < heads) & (values < D)
        part = tl.load(x + lane.to(tl.int64) * stride + values, mask=keep, other=0.0).to(tl.float32)
        if CENTRED:
            part = tl.where(keep, part - mean, 0.0)
            part = part * part
        total += part
    return tl.sum(tl.sum(total, 2), 1)[:, None, None]


@triton.jit
def statistics_across_heads(
    x, inside, stride, heads, eps, KIND: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr, D: tl.constexpr
):
    """Mean and 1 / deviation of every token over all its heads, [BT, 1, 1] each."""
    mean = tl.zeros((BT, 1, 1), tl.float32)
    if KIND == "layer":
        mean = sum_across_heads(x, mean, inside, stride, heads, False, BT, BH, D) / (heads * D)
    squares = sum_across_heads(x, mean, inside, stride, heads, True, BT, BH, D)
    return mean, tl.rsqrt(squares / (heads * D) + eps)


@triton.jit
def normalise(rows, statistics, eps, KIND: tl.constexpr, ACROSS: tl.constexpr, D: tl.constexpr):
    """[BT, BH, D] rows with mean 0 where KIND is "layer", and mean square 1."""
    mean, inverse = statistics
    if not ACROSS:
        mean = tl.sum(rows, 2)[:, :, None] / D if KIND == "layer" else tl.zeros_like(inverse)
        centred = rows - mean
        inverse = tl.rsqrt(tl.sum(centred * centred, 2)[:, :, None] / D + eps)
    return (rows - mean) * inverse


@triton.jit
def rotate(rows, cos, sin, HALVES: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr, D: tl.constexpr):
    """[BT, BH, D] rows turned pair by pair; cos and sin [BT, 1, D / 2]."""
    if HALVES:
        pairs = tl.permute(tl.reshape(rows, (BT, BH, 2, D // 2)), (0, 1, 3, 2))
    else:
        pairs = tl.reshape(rows, (BT, BH, D // 2, 2))
    first, second = tl.split(pairs)
    turned = tl.join(first * cos - second * sin, second * cos + first * sin)
    if HALVES:
        turned = tl.permute(turned, (0, 1, 3, 2))
    return tl.reshape(turned, (BT, BH, D))


@triton.jit
def treat_rows(
    x, out, norm, statistics, table, keep, lane, heads, KIND: tl.constexpr, ACROSS: tl.constexpr, ROTATED: tl.constexpr,
    HALVES: tl.constexpr, FP8: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Load [BT, BH, D] rows, norm, rotate, store them and, where FP8, their fp8 form with one scale per row."""
    rows_out, rows_out8, scales = out
    weight, bias, eps = norm
    rows = tl.load(x, mask=keep, other=0.0).to(tl.float32)
    if KIND != "none":
        rows = normalise(rows, statistics, eps, KIND, ACROSS, D)
        factors = tl.arange(0, D)[None, None, :] + (lane * D if ACROSS else 0)
        real = factors < (heads * D if ACROSS else D)
        if weight is not None:
            rows = rows * tl.load(weight + factors, mask=real, other=0.0).to(tl.float32)
        if bias is not None:
            rows = rows + tl.load(bias + factors, mask=real, other=0.0).to(tl.float32)
    if ROTATED:
        rows = rotate(rows, table[0], table[1], HALVES, BT, BH, D)
    tl.store(rows_out, rows.to(rows_out.dtype.element_ty), mask=keep)
    if FP8:
        largest = tl.max(tl.abs(rows), 2)[:, :, None]
        scale = tl.where(largest == 0.0, 1.0, largest / 448.0)
        tl.store(scales, scale, mask=tl.max(keep.to(tl.int32), 2)[:, :, None] != 0)
        tl.store(rows_out8, (rows / scale).to(rows_out8.dtype.element_ty), mask=keep)


@triton.jit
def norm_rope_kernel(
    q, k, q_out, k_out, q_out8, k_out8, q_scales, k_scales, q_weight, q_bias, k_weight, k_bias, cos, sin, places,
    chosen, q_eps, k_eps, tokens, heads, first, all_tokens, q_strides, k_strides, cos_strides, sin_strides, place_lanes,
    chosen_lanes, Q_KIND: tl.constexpr, K_KIND: tl.constexpr, Q_ACROSS: tl.constexpr, K_ACROSS: tl.constexpr,
    ROTATED: tl.constexpr, HALVES: tl.constexpr, ORDERED: tl.constexpr, CHOSEN: tl.constexpr, FP8: tl.constexpr,
    BT: tl.constexpr, BH: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One stream, whose tokens are rows `first` … of the outputs.

    Outputs are [batch, all_tokens, heads, D] and scales [batch, heads, all_tokens], contiguous. Strides are (batch,
    head, token), those of the tables (token, pair); lanes are (batch, head) strides, 0 where an axis is shared.
    """
    batch = tl.program_id(1).to(tl.int64)
    token = (tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT))[:, None, None]
    values, pairs = tl.arange(0, D)[None, None, :], tl.arange(0, D // 2)[None, None, :]
    inside = token < tokens
    q += batch * q_strides[0] + token * q_strides[2]
    k += batch * k_strides[0] + token * k_strides[2]
    nothing = tl.zeros((BT, 1, 1), tl.float32)
    q_statistics = nothing, nothing
    k_statistics = q_statistics
    if Q_ACROSS:
        q_statistics = statistics_across_heads(q, inside, q_strides[1], heads, q_eps, Q_KIND, BT, BH, D)
    if K_ACROSS:
        k_statistics = statistics_across_heads(k, inside, k_strides[1], heads, k_eps, K_KIND, BT, BH, D)
    table = q_statistics
    if ROTATED:
        cosines = tl.load(
            cos + token * cos_strides[0] + pairs * cos_strides[1], mask=inside & (pairs < D), other=0.0
        )
        sines = tl.load(
            sin + token * sin_strides[0] + pairs * sin_strides[1], mask=inside & (pairs < D), other=0.0
        )
        table = cosines.to(tl.float32), sines.to(tl.float32)
    for head in tl.range(0, heads, BH):
        lane = head + tl.arange(0, BH).to(tl.int64)[None, :, None]
        keep = inside & (lane < heads)
        row = first + token + lane * 0
        if ORDERED:
            place = tl.load(places + batch * place_lanes[0] + lane * place_lanes[1] + row, mask=keep, other=0)
            if CHOSEN:
                moved = tl.load(
                    chosen + batch * chosen_lanes[0] + lane * chosen_lanes[1], mask=lane < heads, other=0
                )
                place = tl.where(moved != 0, place, row)
            row = place
        at = ((batch * all_tokens + row) * heads + lane) * D + values
        at_scale = (batch * heads + lane) * all_tokens + row
        keep = keep & (values < D)
        q_outs = q_out + at, q_out8 + at if FP8 else q_out + at, q_scales + at_scale if FP8 else q_out + at
        k_outs = k_out + at, k_out8 + at if FP8 else k_out + at, k_scales + at_scale if FP8 else k_out + at
        treat_rows(
            q + lane * q_strides[1] + values, q_outs, (q_weight, q_bias, q_eps), q_statistics, table, keep, lane, heads,
            Q_KIND, Q_ACROSS, ROTATED, HALVES, FP8, BT, BH, D,
        )  # fmt: skip
        treat_rows(
            k + lane * k_strides[1] + values, k_outs, (k_weight, k_bias, k_eps), k_statistics, table, keep, lane, heads,
            K_KIND, K_ACROSS, ROTATED, HALVES, FP8, BT, BH, D,
        )  # fmt: skip
