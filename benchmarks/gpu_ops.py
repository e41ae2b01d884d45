"""What a method does around attention: norm and RoPE, reordering, profiling, scoring; each against its floor."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_cases import make_inputs
from benchmarks.gpu_timing import copies_beyond_cache, rotate, time_calls
from videosieve.bench.cases import Case, Shape
from videosieve.kernels import (
    antidiagonal_scores,
    block_mass,
    block_sparse_attention,
    reorder_tokens,
    sampled_attention,
)
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream, norm_rope
from videosieve.layout import inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize

PROFILED = 0.01  # of the video tokens, as Sparse VideoGen's default
Row = dict[str, Any]


def time_ops(shape: Shape, device: torch.device, repeats: int, attention: list[Row]) -> list[Row]:
    """Milliseconds, bytes that must move, share of the copy bandwidth, share of the fastest dense attention."""
    dry = device.type == "cpu"
    dtype = torch.float32 if dry else torch.bfloat16
    q, _, _ = make_inputs(shape, device, dtype)
    inputs = rotate(2 if dry else copies_beyond_cache(q), partial(make_inputs, shape, device, dtype))
    size = q.numel() * q.element_size()
    calls, floors = _calls(shape, q, inputs, 16 if dry else 128)
    check_in_place(shape, inputs[0], 16 if dry else 128)
    times = time_calls(
        {"copy of q": lambda turn: inputs[turn % len(inputs)][0].clone(), **calls}, repeats, device
    )
    bandwidth = 2 * size / times["copy of q"]
    dense = min(row["ms"] for row in attention if row["ms"] and row["density"] == 1.0)
    return [
        {
            "work": name,
            "ms": ms,
            "gigabytes": floors.get(name, 2 * size) / 1e9,
            "of_copy_bandwidth": floors.get(name, 2 * size) / ms / bandwidth,
            "of_dense_attention": ms / dense,
        }
        for name, ms in times.items()
    ]


def _calls(shape: Shape, q: Tensor, inputs: list[Any], side: int) -> tuple[dict[str, Any], dict[str, int]]:
    """The ops by name, and the bytes that each must move at least where it is not one read and one write of q."""
    size, layout, device = q.numel() * q.element_size(), shape.layout, q.device
    order = layout.token_major_order().to(device)
    heads = (torch.arange(shape.heads, device=device) % 2 == 0).unsqueeze(0)
    rows = torch.linspace(0, shape.tokens - 1, max(round(PROFILED * shape.tokens), 16), device=device).long()
    band = Case(shape, "band + text", side, 0.3).make_mask()
    mask = BlockMask(band.keep.to(device), band.block, shape.tokens)
    keep = [mask.rows(rows)] * 2
    lse = torch.zeros(q.shape[:-1], device=device)
    block = BlockSize(side, side)
    norm = HeadNorm("rms", 1e-6, torch.ones(shape.head_dim, device=device, dtype=q.dtype))
    angles = torch.rand(shape.tokens, shape.head_dim // 2, device=device)
    rotation = Rotation(angles.cos(), angles.sin())

    def fused(turn: int, **options: Any) -> object:
        x, y, _ = inputs[turn % len(inputs)]
        return norm_rope([Stream(x, y, norm, norm, rotation)], **options)

    def pick(turn: int) -> Any:
        return inputs[turn % len(inputs)]

    def profile(turn: int) -> object:
        x, y, z = pick(turn)
        return sampled_attention(x[:, :, rows], y, z, keep)

    calls = {
        "norm + RoPE of q and k": fused,
        "norm + RoPE + reorder of q and k": partial(fused, order=order, heads=heads),
        "norm + RoPE of q and k, eager": lambda turn: norm_rope(
            [Stream(*pick(turn)[:2], norm, norm, rotation)], backend="reference"
        ),
        "reorder half the heads of q": lambda turn: reorder_tokens(pick(turn)[0], order, heads=heads),
        "attention at density 0.3, tokens in place": lambda turn: attend_in_place(*pick(turn), mask, order),
        "attention at density 0.3, tokens moved before and after": lambda turn: attend_moved(
            *pick(turn), mask, order
        ),
        f"profile {len(rows)} rows, two masks": profile,
        "antidiagonal scores, stride 8": lambda turn: antidiagonal_scores(*pick(turn)[:2], 8),
        "block mass": lambda turn: block_mass(*pick(turn)[:2], lse, block),
    }
    floors = {name: 4 * size for name in calls if name.startswith("norm")}
    return calls, floors | {name: 4 * size for name in calls if name.startswith("attention")}


def check_in_place(shape: Shape, qkv: tuple[Tensor, Tensor, Tensor], side: int) -> None:
    """Raise an AssertionError unless attention in place equals reordering before and after it."""
    order = shape.layout.token_major_order().to(qkv[0].device)
    band = Case(shape, "band + text", side, 0.3).make_mask()
    mask = BlockMask(band.keep.to(order.device), band.block, shape.tokens)
    torch.testing.assert_close(attend_in_place(*qkv, mask, order), attend_moved(*qkv, mask, order))


def attend_in_place(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, order: Tensor) -> Tensor:
    """The kernel follows the order, where it can; other implementations move tokens all the same."""
    return block_sparse_attention(q, k, v, mask, query_order=order, key_order=order)[0]


def attend_moved(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, order: Tensor) -> Tensor:
    """Tokens are put in order in a pass of their own, the output is put back."""
    output, _ = block_sparse_attention(*(reorder_tokens(x, order) for x in (q, k, v)), mask)
    return reorder_tokens(output, inverse_order(order))
