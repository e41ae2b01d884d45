"""The calls of `videosieve doctor --check`: a dozen odd shapes that together meet every path of every kernel."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from videosieve.kernels import centroids_of
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import band_mask, make_qkv, random_mask, random_ragged_mask
from videosieve.testing.kernel_inputs import KernelCall


@dataclass(frozen=True)
class Size:
    """How large calls are on a device.

    Attributes:
        tokens: Of odd calls; no block side divides it.
        long: Tokens of the call that is only timed and checked in samples; 0 where nothing is timed.
        heads: Heads of the long call.
        dtypes: In place of (bfloat16, float16, float32).
    """

    tokens: int
    long: int
    heads: int
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype] = (torch.bfloat16, torch.float16, torch.float32)


SIZES = {
    "cpu": Size(203, 2048, 4),
    "cuda": Size(1051, 16384, 8),
    # The interpreter takes milliseconds per program and multiplies bf16 wrongly.
    "interpreter": Size(43, 0, 1, (torch.float16, torch.float16, torch.float32)),
}


@dataclass(frozen=True)
class CheckCall:
    """One call that an op's implementations are asked to make.

    Attributes:
        op: Name of the op.
        title: What is special about it.
        dtype: Of its tensors.
        make: Its arguments on a device.
        long: Whether it is large: timed more often, and judged on samples of its rows.
    """

    op: str
    title: str
    dtype: torch.dtype
    make: Callable[[str, torch.dtype], dict[str, Any]]
    long: bool = False

    def build(self, device: str) -> KernelCall:
        """The call, its tensors on a device."""
        return KernelCall(self.op, self.make(device, self.dtype))


def check_calls(size: Size) -> list[CheckCall]:
    """Every call of a size, op by op."""
    n, (bf16, fp16, fp32) = size.tokens, size.dtypes
    calls = [
        CheckCall("block_sparse_attention", "band of 64-blocks", fp32, lambda d, t: _band(n, d, t)),
        CheckCall("block_sparse_attention", "random blocks per head", bf16, lambda d, t: _random(n, d, t)),
        CheckCall("block_sparse_attention", "ragged, per head", fp16, lambda d, t: _ragged(n, d, t)),
        CheckCall("block_sparse_attention", "tokens in another order", bf16, lambda d, t: _ordered(n, d, t)),
        CheckCall("block_sparse_attention", "head_dim 96, empty rows", fp16, lambda d, t: _empty(n, d, t)),
        CheckCall("dense_attention", "more keys than queries", bf16, lambda d, t: _qkv(n, n + 9, d, t, 64)),
        CheckCall("dense_attention", "causal", fp16, lambda d, t: {**_qkv(n, n, d, t, 128), "causal": True}),
        CheckCall(
            "dense_attention", "negative scale", fp32, lambda d, t: {**_qkv(n, n, d, t, 64), "scale": -0.1}
        ),
        CheckCall(
            "compensated_attention", "some answer", fp16, lambda d, t: _compensated(_random(n, d, t), d)
        ),
        CheckCall("compensated_attention", "ragged", bf16, lambda d, t: _compensated(_ragged(n, d, t), d)),
        CheckCall("sampled_attention", "two masks", fp16, lambda d, t: _sampled(n, d, t)),
        CheckCall("block_mass", "partial blocks", bf16, lambda d, t: _mass(n, d, t)),
        CheckCall("antidiagonal_scores", "partial cells", bf16, lambda d, t: _antidiagonal(n, d, t)),
        CheckCall(
            "antidiagonal_mass",
            "partial cells",
            bf16,
            lambda d, t: {**_antidiagonal(n, d, t), "side": 64},
        ),
        CheckCall("pool_blocks", "reordered, one empty", bf16, lambda d, t: _pool(n, d, t)),
        CheckCall("block_moments", "reordered, one empty", bf16, lambda d, t: _moments(n, d, t)),
        CheckCall("deal_budget", "", fp32, lambda d, t: _deal(d, t)),
        CheckCall("centroid_mass", "reordered", fp16, lambda d, t: _centroid_mass(n, d, t)),
        CheckCall("kmeans", "warm start", fp16, lambda d, t: _kmeans(n, d, t)),
        CheckCall("norm_rope", "two streams, reordered", bf16, lambda d, t: _norm_rope(n, d, t, "rms")),
        CheckCall("norm_rope", "layer norm", fp32, lambda d, t: _norm_rope(n, d, t, "layer")),
        CheckCall("reorder_tokens", "some heads", bf16, lambda d, t: _reorder(n, d, t)),
    ]
    if not size.long:
        return calls
    long, heads, wide = size.long, size.heads, fp32 if size is SIZES["cpu"] else bf16
    telling = CheckCall(
        "block_sparse_attention", f"{long:,} tokens", wide, lambda d, t: _long(long, heads, d, t), long=True
    )
    fp8 = CheckCall("norm_rope", "fp8", bf16, lambda d, t: {**_norm_rope(n, d, t, "rms"), "fp8": True})
    return [telling, *calls, fp8]


def _qkv(
    queries: int, keys: int, device: str, dtype: torch.dtype, head_dim: int, heads: int = 3
) -> dict[str, Any]:
    tensors = make_qkv(queries, keys, heads=heads, head_dim=head_dim, dtype=dtype)
    return {name: x.to(device) for name, x in zip("qkv", tensors, strict=True)}


def _band(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    mask = band_mask(n, BlockSize(64, 64), 96, sink=1)
    return {**_qkv(n, n, device, dtype, 64), "mask": _on(mask, device)}


def _random(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    tensors = make_qkv(n, n, batch=2, heads=3, head_dim=128, dtype=dtype)
    mask = random_mask(n, n, BlockSize(128, 32), 0.4, batch=2, heads=3)
    return {**{name: x.to(device) for name, x in zip("qkv", tensors, strict=True)}, "mask": _on(mask, device)}


def _ragged(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    mask = random_ragged_mask(n, n + 9, (9, 14), 0.5, heads=3)
    return {**_qkv(n, n + 9, device, dtype, 64), "mask": _on(mask, device)}


def _ordered(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    orders = {"query_order": _permutations(n, device), "key_order": _permutations(n, device)[0, 0]}
    return {**_band(n, device, dtype), **orders}


def _empty(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    mask = random_mask(n, n, BlockSize(16, 16), 0.3, heads=3)
    mask.keep[:, 1, 1] = False
    return {**_qkv(n, n, device, dtype, 96), "mask": _on(mask, device), "scale": 0.3}


def _long(n: int, heads: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Random 128-blocks, density 0.25: what skipping is worth here."""
    mask = random_mask(n, n, BlockSize(128, 128), 0.25, heads=heads)
    mask.keep[..., 0] = True
    return {**_qkv(n, n, device, dtype, 64 if device == "cpu" else 128, heads), "mask": _on(mask, device)}


def _sampled(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    masks = [torch.rand(shape, generator=generator) < 0.3 for shape in ((1, 3, 17, n), (1, 1, 17, n))]
    return {**_qkv(17, n, device, dtype, 64), "masks": [mask.to(device) for mask in masks]}


def _mass(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _qkv(n, n, device, dtype, 64)
    del arguments["v"]
    lse = (arguments["q"].double() @ arguments["k"].double().mT / 8).logsumexp(-1).float()
    return {**arguments, "lse": lse, "block": BlockSize(64, 48)}


def _antidiagonal(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _qkv(n, n, device, dtype, 64)
    del arguments["v"]
    return {**arguments, "stride": 8}


def _compensated(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    """Centroids answer for every other block of those that are left out."""
    mask = arguments["mask"]
    centroids = centroids_of(arguments["k"], arguments["v"], mask)
    rows, columns = mask.keep.shape[2:]
    allowed = torch.arange(rows * columns, device=device).view(1, 1, rows, columns) % 2 == 0
    return {**arguments, "centroids": replace(centroids, allowed=allowed), "scale": 0.1}


def _blocks(n: int, device: str) -> Tensor:
    return torch.tensor([[[0, n // 4, n // 4, n // 2 + 3, n]]], device=device)


def _pool(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    x = _qkv(n, 1, device, dtype, 64)["q"]
    return {"x": x, "offsets": _blocks(n, device), "order": _permutations(n, device)}


def _moments(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _pool(n, device, dtype)
    x = arguments["x"]
    return {**arguments, "x": x[..., :16], "y": x[..., 16:20] + 1}


def _deal(device: str, dtype: torch.dtype) -> dict[str, Any]:
    worth = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(3)).to(device, dtype)
    sizes = torch.arange(23, device=device).expand(1, 3, 23)
    budget = torch.tensor([[-1, 300, 900]], device=device)
    return {"worth": worth, "query_sizes": sizes[..., :9], "key_sizes": sizes[..., 9:], "budget": budget}


def _centroid_mass(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    tensors = _qkv(n, 13, device, dtype, 64)
    sizes = torch.arange(13, device=device).view(1, 1, 13).float().log()  # the first is empty
    order = _permutations(n, device)
    return {
        "q": tensors["q"],
        "keys": tensors["k"],
        "log_sizes": sizes,
        "offsets": _blocks(n, device),
        "order": order,
    }


def _kmeans(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    x = make_qkv(n, 1, heads=3, head_dim=64, dtype=dtype)[0].to(device)
    return {"x": x, "clusters": 13, "iterations": 1, "centroids": x[:, :, :13].float() + 0.1}


def _norm_rope(n: int, device: str, dtype: torch.dtype, kind: Any) -> dict[str, Any]:
    weight = torch.linspace(0.5, 2, 64, device=device).to(dtype)
    across = weight.repeat(3)
    angles = torch.linspace(0, 60, n * 32, device=device).view(n, 32)
    norms = HeadNorm(kind, 1e-6, weight, weight), HeadNorm(kind, 1e-6, across, across_heads=True)
    video, text = (_qkv(count, count, device, dtype, 64) for count in (n, 9))
    rotation = Rotation(angles.cos(), angles.sin())
    streams = [Stream(video["q"], video["k"], *norms, rotation), Stream(text["q"], text["k"], *norms)]
    heads = torch.tensor([[True, False, True]], device=device)
    return {"streams": streams, "order": _permutations(n + 9, device), "heads": heads}


def _reorder(n: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    x = _qkv(n, 1, device, dtype, 64)["q"]
    heads = torch.tensor([[True, False, True]], device=device)
    return {"x": x, "order": _permutations(n, device), "heads": heads}


def _permutations(n: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(n, generator=generator) for _ in range(3)])[None].to(device)


def _on(mask: BlockMask | RaggedBlockMask, device: str) -> BlockMask | RaggedBlockMask:
    if isinstance(mask, BlockMask):
        return BlockMask(mask.keep.to(device), mask.block, mask.queries, mask.keys)
    offsets = mask.query_offsets.to(device), mask.key_offsets.to(device)
    return RaggedBlockMask(mask.keep.to(device), *offsets, mask.queries, mask.keys)
