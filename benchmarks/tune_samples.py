"""One call per row of a launch table: what `tune_launch` runs to see which launch is fastest."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.kernels import (
    antidiagonal_scores,
    block_mass,
    block_sparse_attention,
    centroid_mass,
    kmeans,
    pool_blocks,
    reorder_tokens,
    sampled_attention,
)
from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream, norm_rope
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import band_mask, make_qkv

TOKENS, HEADS, DRY_TOKENS, DRY_HEADS = 32_768, 16, 80, 1
POOLED_SIDE = 64
Key = tuple[int, ...]
Run = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """How an op is tuned.

    Attributes:
        op: Its name.
        prepare: Takes a row's key without the architecture and a device; a call without arguments that uses this row.
        sensible: Whether a launch can be meant for a key at all.
    """

    op: str
    prepare: Callable[[Key, torch.device], Run]
    sensible: Callable[[Key, Launch], bool] = lambda _key, _launch: True

    def table(self) -> LaunchTable:
        """The op's launch table."""
        module = importlib.import_module(f"videosieve.kernels.{self.op}.launch")
        return next(value for value in vars(module).values() if isinstance(value, LaunchTable))


def _tensors(
    head_dim: int, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    dry = device.type == "cpu"
    tokens, heads = (DRY_TOKENS, DRY_HEADS) if dry else (TOKENS, HEADS)
    dtype = (torch.float16 if dry else torch.bfloat16) if dtype is None else dtype
    q, k, v = make_qkv(tokens, tokens, heads=heads, head_dim=head_dim, dtype=dtype)
    return q.to(device), k.to(device), v.to(device)


def _attention(key: Key, device: torch.device) -> Run:
    head_dim, value_bytes, side = key
    q, k, v = _tensors(head_dim, device, torch.float32 if value_bytes == 4 else None)
    mask = band_mask(
        q.shape[2], BlockSize(side, side), q.shape[2] // 7, sink=1
    )  # about a quarter of the pairs
    mask = BlockMask(mask.keep.to(device), mask.block, mask.queries)
    backend = "triton-fp8" if value_bytes == 1 else "triton"
    return lambda: block_sparse_attention(q, k, v, mask, backend=backend)


def _attention_sensible(key: Key, launch: Launch) -> bool:
    return all(16 <= side <= key[-1] for side in launch.tile)


def _norm_rope(key: Key, device: torch.device) -> Run:
    head_dim, fp8 = key
    q, k, _ = _tensors(head_dim, device)
    norm = HeadNorm("rms", 1e-6, torch.ones(head_dim, device=device, dtype=q.dtype))
    angles = torch.rand(q.shape[2], head_dim // 2, generator=torch.Generator().manual_seed(0)).to(device)
    streams = [Stream(q, k, norm, norm, Rotation(angles.cos(), angles.sin()))]
    return lambda: norm_rope(streams, fp8=bool(fp8), backend="triton")[:2]


def _reorder(key: Key, device: torch.device) -> Run:
    q, _, _ = _tensors(key[0], device)
    order = torch.arange(q.shape[2], device=device).view(-1, 16).mT.flatten()
    return lambda: reorder_tokens(q, order, backend="triton")


def _sampled(key: Key, device: torch.device) -> Run:
    q, k, v = _tensors(key[0], device)
    rows = torch.linspace(0, q.shape[2] - 1, q.shape[2] // 20, device=device).long()
    keep = band_mask(q.shape[2], BlockSize(16, 16), q.shape[2] // 7).rows(rows.cpu()).to(device)
    return lambda: tuple(sampled_attention(q[:, :, rows], k, v, [keep, ~keep], backend="triton"))


def _antidiagonal(key: Key, device: torch.device) -> Run:
    q, k, _ = _tensors(key[0], device)
    return lambda: antidiagonal_scores(q, k, 8, backend="triton")


def _mass(key: Key, device: torch.device) -> Run:
    q, k, _ = _tensors(key[0], device)
    lse = torch.full(q.shape[:-1], 5.0, device=device)
    return lambda: block_mass(q, k, lse, BlockSize(128, 128), backend="triton")


def _clusters(key: Key, device: torch.device) -> Run:
    _, k, _ = _tensors(key[0], device)
    count = k.shape[2] // 64
    return lambda: kmeans(k, count, iterations=1, backend="triton").centroids


def _pool(key: Key, device: torch.device) -> Run:
    _, k, _ = _tensors(key[0], device)
    offsets = _offsets(k.shape[2], device)
    return lambda: tuple(pool_blocks(k, offsets, backend="triton"))


def _centroids(key: Key, device: torch.device) -> Run:
    q, k, _ = _tensors(key[0], device)
    offsets = _offsets(k.shape[2], device)
    means = pool_blocks(k, offsets, backend="triton").means
    sizes = offsets.diff().float().log()
    return lambda: centroid_mass(q, means, sizes, offsets, backend="triton")


def _offsets(tokens: int, device: torch.device) -> Tensor:
    edges = [*range(0, tokens, POOLED_SIDE), tokens]
    return torch.tensor(edges, device=device)[None, None]


def _products(_key: Key, launch: Launch) -> bool:
    return all(side >= 16 for side in launch.tile)


SAMPLES = {
    "block_sparse_attention": Sample("block_sparse_attention", _attention, _attention_sensible),
    "norm_rope": Sample("norm_rope", _norm_rope),
    "reorder_tokens": Sample("reorder_tokens", _reorder),
    "sampled_attention": Sample("sampled_attention", _sampled, _products),
    "antidiagonal_scores": Sample("antidiagonal_scores", _antidiagonal, _products),
    "block_mass": Sample("block_mass", _mass),
    "pool_blocks": Sample("pool_blocks", _pool),
    "centroid_mass": Sample("centroid_mass", _centroids, _products),
    "kmeans": Sample("kmeans", _clusters, _products),
}
