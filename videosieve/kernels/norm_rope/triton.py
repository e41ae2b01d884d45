"""Launcher of the Triton kernel: one launch per stream, all writing into the same q and k."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from videosieve.kernels.norm_rope.launch import find_launch
from videosieve.kernels.norm_rope.streams import HeadNorm, NormRope, Stream
from videosieve.kernels.norm_rope.triton_kernel import norm_rope_kernel
from videosieve.kernels.triton_support import lane_steps, on_device
from videosieve.layout import inverse_order


def norm_rope(streams: Sequence[Stream], order: Tensor | None, heads: Tensor | None, fp8: bool) -> NormRope:
    """Shapes as in the api."""
    first = streams[0].q
    batch, count, _, head_dim = first.shape
    tokens = sum(s.q.shape[2] for s in streams)
    shape = (batch, tokens, count, head_dim)
    pairs: list[Any] = [first.new_empty(shape) for _ in "qk"]
    pairs += [first.new_empty(shape, dtype=torch.float8_e4m3fn) if fp8 else None for _ in "qk"]
    scales = [first.new_empty(batch, count, tokens, dtype=torch.float32) if fp8 else None for _ in "qk"]
    outputs = [*pairs, *scales]
    # The kernel reads places next to one another; the inverse of a transposed order has its strides.
    places = None if order is None else inverse_order(order).contiguous()
    start = 0
    for stream in streams:
        arguments = kernel_arguments(stream, outputs, places, heads, start)
        launch = find_launch(first.device, head_dim, fp8)
        grid = (triton.cdiv(stream.q.shape[2], launch.tile[0]), batch)
        if grid[0]:
            tile: dict[str, Any] = {"BT": launch.tile[0], "BH": launch.tile[1]}
            with on_device(first):
                norm_rope_kernel[grid](**arguments, **tile, **launch.options)
        start += stream.q.shape[2]
    results: list[Any] = [x if x is None else x.transpose(1, 2) for x in pairs]
    return NormRope(*results, *scales)


def kernel_arguments(
    stream: Stream, outputs: Sequence[Tensor | None], places: Tensor | None, heads: Tensor | None, start: int
) -> dict[str, Any]:
    """What the kernel gets for one stream, but for the tile.

    Args:
        stream: The stream.
        outputs: q, k [batch, tokens, heads, head_dim], their fp8 forms, and scales [batch, heads, tokens].
        places: Inverse of the token order, [tokens] or [batch|1, heads|1, tokens].
        heads: bool [batch|1, heads]; heads that are put in order.
        start: Tokens before this stream.
    """
    q, k, rotation = stream.q, stream.k, stream.rotation
    names = ("q_out", "k_out", "q_out8", "k_out8", "q_scales", "k_scales")
    result: dict[str, Any] = {"q": q, "k": k, **dict(zip(names, outputs, strict=True))}
    for name, x, norm in (("q", q, stream.q_norm), ("k", k, stream.k_norm)):
        chosen = norm or HeadNorm("rms", 0.0)
        result |= {
            # Factors are read next to one another.
            f"{name}_weight": None if chosen.weight is None else chosen.weight.contiguous(),
            f"{name}_bias": None if chosen.bias is None else chosen.bias.contiguous(),
            f"{name}_eps": chosen.eps,
            f"{name}_strides": x.stride()[:3],
            f"{name.upper()}_KIND": "none" if norm is None else norm.kind,
            f"{name.upper()}_ACROSS": norm is not None and norm.across_heads,
        }
    for name in ("cos", "sin"):
        table = None if rotation is None else getattr(rotation, name)
        result |= {name: table, f"{name}_strides": (0, 0) if table is None else table.stride()}
    return result | {
        "places": places,
        "chosen": heads,
        "tokens": q.shape[2],
        "heads": q.shape[1],
        "first": start,
        "all_tokens": outputs[0].shape[1],  # pyright: ignore[reportOptionalMemberAccess]
        "place_lanes": lane_steps(places),
        "chosen_lanes": (0, 0) if heads is None else lane_steps(heads.unsqueeze(-1)),
        "ROTATED": rotation is not None,
        "HALVES": rotation is not None and rotation.halves,
        "ORDERED": places is not None,
        "CHOSEN": heads is not None,
        "FP8": outputs[2] is not None,
        "D": q.shape[3],
    }
