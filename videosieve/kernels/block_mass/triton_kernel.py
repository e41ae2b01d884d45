"""Block mass in Triton: a program keeps one block of queries and walks over key blocks; scores never leave it."""

import triton
import triton.language as tl


@triton.jit
def load_rows(base, rows, stride, keep, head_dim, D: tl.constexpr):
    """[rows, D] values of the given tokens; tokens not kept and values past head_dim are zeros."""
    values = tl.arange(0, D)[None, :]
    mask = keep[:, None] & (values < head_dim)
    return tl.load(base + rows.to(tl.int64)[:, None] * stride + values, mask=mask, other=0.0)


@triton.jit
def block_mass_kernel(
    q, k, lse, mass, queries, keys, heads, head_dim, rows, columns, walks, scale, q_strides, k_strides, lse_strides,
    QUERY_SIDE: tl.constexpr, KEY_SIDE: tl.constexpr, WALK: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    D: tl.constexpr,
):  # fmt: skip
    """Σ exp(scale · q·k − lse) of WALK neighbouring blocks of a block row.

    Strides are (batch, head, token); mass is [batch, heads, rows, columns], contiguous.
    """
    lane = tl.program_id(1).to(tl.int64)
    batch, head = lane // heads, lane % heads
    row, first = tl.program_id(0) // walks, (tl.program_id(0) % walks) * WALK
    place = tl.arange(0, BM)
    token = row * QUERY_SIDE + place
    inside = (place < QUERY_SIDE) & (token < queries)
    query = load_rows(
        q + batch * q_strides[0] + head * q_strides[1], token, q_strides[2], inside, head_dim, D
    )
    at_lse = lse + batch * lse_strides[0] + head * lse_strides[1] + token.to(tl.int64) * lse_strides[2]
    # Places without a query get exp(−inf) = 0.
    offset = tl.load(at_lse, mask=inside, other=float("inf")).to(tl.float32)[:, None]
    k += batch * k_strides[0] + head * k_strides[1]
    mass += (lane * rows + row) * columns
    step = tl.arange(0, BN)
    for column in tl.range(first, tl.minimum(first + WALK, columns)):
        key_token = column * KEY_SIDE + step
        real = (step < KEY_SIDE) & (key_token < keys)
        key = load_rows(k, key_token, k_strides[2], real, head_dim, D)
        scores = tl.dot(query, key.T)  # [BM, BN] scores
        weights = tl.where(real[None, :], tl.exp(scores * scale - offset), 0.0)
        tl.store(mass + column, tl.sum(tl.sum(weights, 1), 0))
