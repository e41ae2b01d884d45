"""Figure 8 of Sparse VideoGen on this machine: a temporal band with and without reordering, against dense attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.timing import time_by_turns
from videosieve.kernels import block_sparse_attention
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods.geometry.band import BandPattern, band_patterns
from videosieve.testing.factories import make_qkv

LAYOUT = VideoLayout.of(16, 16, 32)
HEADS, HEAD_DIM, BLOCK = 4, 64, 64


def untransformed(pattern: BandPattern, block: int = BLOCK) -> BlockMask:
    """The blocks of the frame-major order that hold a pair which the reordered pattern keeps."""
    tokens = len(pattern.query_block)
    rows = (holders(blocks, block) for blocks in (pattern.query_block, pattern.key_block))
    queries, keys = rows
    keep = (queries @ pattern.mask.keep[0, 0].float() @ keys.T) > 0
    return BlockMask(keep[None, None], BlockSize(block, block), tokens)


def holders(blocks: Tensor, block: int) -> Tensor:
    """1.0 where a block of the plain order holds a token of a block of the other order [plain, other]."""
    plain = torch.arange(len(blocks)) // block
    shared = torch.zeros(int(plain.max()) + 1, int(blocks.max()) + 1)
    shared[plain, blocks] = 1
    return shared


def time_bands(
    densities: list[float], repeats: int = 3, layout: VideoLayout = LAYOUT
) -> list[dict[str, Any]]:
    """Milliseconds of dense attention and of both layouts at every density, by turns.

    Args:
        densities: Asked for; the executed ones are in the result.
        repeats: Turns that count.
        layout: The tokens; text is not wanted.

    Returns:
        One entry a density and layout: density, transformed, executed, dense_ms, ms, speedup.
    """
    q, k, v = make_qkv(layout.tokens, layout.tokens, heads=HEADS, head_dim=HEAD_DIM, contiguous=True)
    calls: dict[str, Callable[[], object]] = {"dense": partial(scaled_dot_product_attention, q, k, v)}
    masks: dict[tuple[float, bool], BlockMask] = {}
    for density in densities:
        _, temporal = band_patterns(layout, density, BLOCK, False, torch.device("cpu"))
        masks[density, True], masks[density, False] = temporal.mask, untransformed(temporal)
        calls[f"{density} {True}"] = partial(_reordered, q, k, v, temporal)
        calls[f"{density} {False}"] = partial(block_sparse_attention, q, k, v, masks[density, False])
    milliseconds = time_by_turns(calls, repeats)
    return [
        {
            "density": density,
            "transformed": transformed,
            "executed": float(mask.density),
            "dense_ms": milliseconds["dense"],
            "ms": milliseconds[f"{density} {transformed}"],
            "speedup": milliseconds["dense"] / milliseconds[f"{density} {transformed}"],
        }
        for (density, transformed), mask in masks.items()
    ]


def _reordered(q: Tensor, k: Tensor, v: Tensor, pattern: BandPattern) -> Tensor:
    queries, keys = pattern.orders()
    if queries is None or keys is None:
        raise ValueError("a temporal pattern reorders")
    output, _ = block_sparse_attention(queries.apply(q), keys.apply(k), keys.apply(v), pattern.mask)
    return queries.undo(output)
