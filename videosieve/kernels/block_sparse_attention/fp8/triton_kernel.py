"""Rounding to e4m3, one scale per block."""

import triton
import triton.language as tl


@triton.jit
def load_tile(x, start, tokens, stride, HEAD_DIM: tl.constexpr, BM: tl.constexpr, D: tl.constexpr):
    """[BM, D] fp32 tokens start …, zeros past the end and past HEAD_DIM; pointers' offsets and what is inside."""
    places, columns = start + tl.arange(0, BM), tl.arange(0, D)
    inside = (places < tokens)[:, None] & (columns < HEAD_DIM)[None, :]
    tile = tl.load(x + places.to(tl.int64)[:, None] * stride + columns[None, :], mask=inside, other=0.0)
    return tile.to(tl.float32), places, inside


@triton.jit
def round_block(
    x,
    values,
    scales,
    products,
    centre,
    probe,
    heads,
    tokens,
    rows,
    strides,
    HEAD_DIM: tl.constexpr,
    SIDE: tl.constexpr,
    D: tl.constexpr,
    BM: tl.constexpr,
    LARGEST: tl.constexpr,
):
    """One block of one head; the second look at it comes from the cache."""
    row, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    x += (lane // heads) * strides[0] + (lane % heads) * strides[1]
    columns = tl.arange(0, D)
    middle = tl.zeros((D,), tl.float32)
    if centre is not None:
        middle = tl.load(centre + lane * HEAD_DIM + columns, mask=columns < HEAD_DIM, other=0.0)
    largest = 0.0
    for step in tl.static_range(SIDE // BM):
        tile, places, inside = load_tile(x, row * SIDE + step * BM, tokens, strides[2], HEAD_DIM, BM, D)
        if probe is not None:
            vector = tl.load(probe + lane * HEAD_DIM + columns, mask=columns < HEAD_DIM, other=0.0)
            tl.store(
                products + lane * tokens + places, tl.sum(tile * vector[None, :], 1), mask=places < tokens
            )
        tile = tl.where(inside, tile - middle[None, :], 0.0)
        largest = tl.maximum(largest, tl.max(tl.max(tl.abs(tile), 1), 0))
    scale = tl.where(largest > 0, largest / LARGEST, 1.0)
    tl.store(scales + lane * rows + row, scale)
    values += lane * tokens * HEAD_DIM
    for step in tl.static_range(SIDE // BM):
        tile, places, inside = load_tile(x, row * SIDE + step * BM, tokens, strides[2], HEAD_DIM, BM, D)
        rounded = ((tile - middle[None, :]) / scale).to(values.dtype.element_ty)
        tl.store(values + places.to(tl.int64)[:, None] * HEAD_DIM + columns[None, :], rounded, mask=inside)
