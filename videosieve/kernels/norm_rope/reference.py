"""Norm and rotary positions in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videosieve.kernels.norm_rope.streams import FP8_LARGEST, HeadNorm, NormRope, Rotation, Stream


def norm_rope(streams: Sequence[Stream], order: Tensor | None, heads: Tensor | None, fp8: bool) -> NormRope:
    """Every step in fp32 (fp64 for fp64), rounded once at the end; shapes as in the api."""
    rows = [
        torch.cat([_rotate(_normalise(x, norm), s.rotation) for s, x, norm in zip(streams, xs, norms, strict=True)], 2)
        for xs, norms in (
            ([s.q for s in streams], [s.q_norm for s in streams]),
            ([s.k for s in streams], [s.k_norm for s in streams]),
        )
    ]  # fmt: skip
    if order is not None:
        index = order.expand(rows[0].shape[:-1]).unsqueeze(-1).expand_as(rows[0])
        chosen = torch.ones(1, 1, dtype=torch.bool, device=order.device) if heads is None else heads
        rows = [torch.where(chosen[..., None, None], x.gather(2, index), x) for x in rows]
    q, k = (x.transpose(1, 2).to(streams[0].q.dtype).contiguous().transpose(1, 2) for x in rows)
    if not fp8:
        return NormRope(q, k)
    largest = [x.abs().amax(-1) for x in rows]
    scales = [torch.where(top == 0, 1.0, top / FP8_LARGEST) for top in largest]
    eights = [(x / s.unsqueeze(-1)).to(torch.float8_e4m3fn) for x, s in zip(rows, scales, strict=True)]
    return NormRope(q, k, *eights, *(s.float() for s in scales))


def _normalise(x: Tensor, norm: HeadNorm | None) -> Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if norm is None:
        return x
    wide = x.transpose(1, 2)
    wide = wide.flatten(2) if norm.across_heads else wide
    wide = wide - wide.mean(-1, keepdim=True) if norm.kind == "layer" else wide
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.eps)
    wide = wide if norm.weight is None else wide * norm.weight.to(x.dtype)
    wide = wide if norm.bias is None else wide + norm.bias.to(x.dtype)
    return wide.view(x.transpose(1, 2).shape).transpose(1, 2)


def _rotate(x: Tensor, rotation: Rotation | None) -> Tensor:
    if rotation is None:
        return x
    first, second = x.chunk(2, -1) if rotation.halves else (x[..., 0::2], x[..., 1::2])
    cos, sin = rotation.cos.to(x.dtype), rotation.sin.to(x.dtype)
    turned = first * cos - second * sin, second * cos + first * sin
    return torch.cat(turned, -1) if rotation.halves else torch.stack(turned, -1).flatten(-2)
