"""The list of kept blocks that the attention kernel walks, made on the GPU."""

import triton
import triton.language as tl


@triton.jit
def list_kept_blocks(
    keep, sizes, indices, counts, rows, columns, BN: tl.constexpr, SIZED: tl.constexpr, CHUNK: tl.constexpr
):
    """Compact one row of a mask: numbers of the kept blocks, ascending, and how many.

    SIZED: empty blocks are left out, and the count is that of the tiles of BN keys that the kept blocks fill.
    """
    row = tl.program_id(0).to(tl.int64)
    listed, tiles = 0, 0
    for first in tl.range(0, columns, CHUNK):
        block = first + tl.arange(0, CHUNK)
        inside = block < columns
        kept = tl.load(keep + row * columns + block, mask=inside, other=0) != 0
        if SIZED:
            size = tl.load(sizes + (row // rows) * columns + block, mask=inside, other=0)
            kept &= size > 0
            tiles += tl.sum(tl.where(kept, (size + BN - 1) // BN, 0))
        place = listed + tl.cumsum(kept.to(tl.int32), 0) - 1
        tl.store(indices + row * columns + place, block, mask=kept)
        listed += tl.sum(kept.to(tl.int32))
    if SIZED:
        tl.store(counts + row, tiles)
    else:
        tl.store(counts + row, listed)
