"""Launch table of block-sparse attention: (architecture, head_dim, bytes per value of q and k, query side) → tile.

A tile is (BM queries, BN keys); smaller block sides cut it.
"""

from dataclasses import replace

from videosieve.kernels.launch import Launch, LaunchTable

SIDES, HEAD_DIMS = (64, 128), (64, 128)

TABLE = LaunchTable(
    "block_sparse_attention",
    source="reasoned from registers and shared memory as compiled by Triton 3.9; not measured on a GPU yet",
    rows={
        (80, 64, 2, 64): Launch((64, 64), 4, 3),
        (80, 64, 2, 128): Launch((128, 64), 4, 3),
        (80, 128, 2, 64): Launch((64, 64), 4, 3),
        (80, 128, 2, 128): Launch((128, 64), 8, 3),
        (80, 64, 4, 64): Launch((64, 32), 8, 2),
        (80, 128, 4, 64): Launch((32, 32), 8, 2),
        (86, 128, 2, 64): Launch((64, 32), 4, 2),
        (86, 128, 2, 128): Launch((128, 32), 8, 2),
        (89, 64, 1, 64): Launch((64, 64), 4, 3),
        (89, 128, 1, 64): Launch((64, 64), 4, 2),
        (90, 64, 2, 64): Launch((64, 64), 4, 3),
        (90, 64, 2, 128): Launch((128, 128), 8, 3),
        (90, 128, 2, 64): Launch((64, 64), 4, 3),
        (90, 128, 2, 128): Launch((128, 128), 8, 2),
        (90, 64, 1, 128): Launch((128, 128), 8, 3),
        (90, 128, 1, 128): Launch((128, 128), 8, 2),
        (100, 64, 2, 64): Launch((64, 64), 4, 3),
        (100, 64, 2, 128): Launch((128, 128), 8, 3),
        (100, 128, 2, 64): Launch((64, 64), 4, 2),
        (100, 128, 2, 128): Launch((128, 128), 8, 2),
        (120, 64, 2, 128): Launch((128, 64), 8, 3),
        (120, 128, 2, 64): Launch((64, 32), 4, 2),
        (120, 128, 2, 128): Launch((128, 32), 8, 2),
        (120, 64, 1, 128): Launch((128, 64), 8, 3),
        (120, 128, 1, 128): Launch((128, 32), 8, 2),
    },
)


def tile_side(side: int) -> int:
    """Largest tile that divides a block side: a power of two up to 128."""
    return min(side & -side, SIDES[-1])


def find_launch(arch: int, head_dim: int, value_bytes: int, query_side: int, key_side: int) -> Launch:
    """Launch of a call.

    Args:
        arch: Compute capability, as `triton_support.architecture` counts.
        head_dim: Values per head, up to 128.
        value_bytes: Bytes per value of q and k: 1, 2 or 4.
        query_side: Query tokens of a block, a multiple of 16.
        key_side: Key tokens of a block, a multiple of 16.

    Returns:
        The row for the nearest head_dim above and the widest query side that the block reaches, its tile cut so that
        it divides the block.

    Raises:
        BackendError: The table knows nothing for this architecture and these values.
    """
    dim = next(known for known in HEAD_DIMS if known >= head_dim)
    queries, keys = tile_side(query_side), tile_side(key_side)
    known = [side for side in SIDES if side <= queries and TABLE.knows(arch, dim, value_bytes, side)]
    row = TABLE.find(arch, dim, value_bytes, max(known, default=SIDES[0]))
    tile = min(row.tile[0], queries), min(row.tile[1], keys)
    return Launch(tile, row.num_warps if tile == row.tile else min(row.num_warps, 4), row.num_stages)


def with_centroids(launch: Launch, value_bytes: int) -> Launch:
    """A launch with room in its registers for the second loop, over centroids: narrower where they would spill.

    Args:
        launch: Of the call without centroids.
        value_bytes: Bytes per value of q and k.

    Returns:
        The launch with at most 64 keys a step, and at most 32 queries of fp32.
    """
    queries, keys = launch.tile
    return replace(launch, tile=(min(queries, 32) if value_bytes == 4 else queries, min(keys, 64)))
