"""Antidiagonal scores in Triton: a matrix product over cells whose inner axis walks the antidiagonal."""

import triton
import triton.language as tl


@triton.jit
def load_rows(base, rows, stride, count, head_dim, D: tl.constexpr):
    """[rows, D] values of the given tokens; tokens past `count` and values past head_dim are zeros."""
    values = tl.arange(0, D)[None, :]
    keep = (rows < count)[:, None] & (values < head_dim)
    return tl.load(base + rows.to(tl.int64)[:, None] * stride + values, mask=keep, other=0.0)


@triton.jit
def antidiagonal_kernel(
    q, k, scores, queries, keys, heads, group, head_dim, rows, columns, column_tiles, factor, stride,
    q_strides, k_strides, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """BM × BN cells: Σ over s of query stride − 1 − s of the row's cell times key s of the column's, times `factor`.

    Strides are (batch, head, token); scores are [batch, heads, rows, columns], contiguous.
    """
    lane = tl.program_id(1).to(tl.int64)
    batch, head = lane // heads, lane % heads
    row = (tl.program_id(0) // column_tiles) * BM + tl.arange(0, BM)
    column = (tl.program_id(0) % column_tiles) * BN + tl.arange(0, BN)
    q += batch * q_strides[0] + head * q_strides[1]
    k += batch * k_strides[0] + (head // group) * k_strides[1]
    total = tl.zeros((BM, BN), tl.float32)
    for place in tl.range(0, stride):
        query = load_rows(q, row * stride + (stride - 1 - place), q_strides[2], queries, head_dim, D)
        key = load_rows(k, column * stride + place, k_strides[2], keys, head_dim, D)
        total = tl.dot(query, key.T, total)
    at = (lane * rows + row.to(tl.int64)[:, None]) * columns + column[None, :]
    tl.store(scores + at, total * factor, mask=(row < rows)[:, None] & (column < columns)[None, :])
