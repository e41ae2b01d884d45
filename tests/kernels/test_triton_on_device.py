"""The same calls on a GPU in bf16 (`-m gpu`) and, to keep the test itself honest, in the interpreter in fp16."""

import contextlib

import pytest
import torch

from videosieve.kernels import (
    antidiagonal_scores,
    block_mass,
    kmeans,
    norm_rope,
    reorder_tokens,
    sampled_attention,
)
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_attention, assert_within
from videosieve.testing.triton_interpreter import interpreted

on_device = pytest.mark.parametrize(
    ("device", "dtype", "tokens"),
    [("cpu", torch.float16, 75), pytest.param("cuda", torch.bfloat16, 5003, marks=pytest.mark.gpu)],
)


def run(device, call):
    with interpreted() if device == "cpu" else contextlib.nullcontext(), torch.no_grad():
        return call()


def inputs(device, dtype, queries, keys, head_dim=64):
    return [x.to(device) for x in make_qkv(queries, keys, batch=2, heads=3, head_dim=head_dim, dtype=dtype)]


@on_device
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("fp8", [False, True], ids=["plain", "fp8"])
def test_norm_rope(device, dtype, tokens, head_dim, fp8):
    if fp8 and device == "cpu":
        pytest.skip("the interpreter rounds to fp8 wrongly; test_norm_rope mends it")
    if fp8 and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("fp8 needs sm89")
    q, k, _ = inputs(device, dtype, tokens, tokens, head_dim)
    weight = torch.linspace(0.5, 2, head_dim, device=device).to(dtype)
    angles = torch.linspace(0, 60, tokens * head_dim // 2, device=device).view(tokens, -1)
    norms = HeadNorm("rms", 1e-6, weight), HeadNorm("layer", 1e-6, weight, weight)
    video = Stream(q, k, *norms, Rotation(angles.cos(), angles.sin()))
    text = Stream(q[:, :, :9], k[:, :, :9], *norms)
    order = torch.randperm(tokens + 9, generator=torch.Generator().manual_seed(0)).to(device)
    heads = torch.tensor([[True, False, True]], device=device)
    result = run(
        device, lambda: norm_rope([video, text], order=order, heads=heads, fp8=fp8, backend="triton")
    )
    rough = norm_rope([video, text], order=order, heads=heads, backend="reference")
    wide = [Stream(s.q.double(), s.k.double(), s.q_norm, s.k_norm, s.rotation) for s in (video, text)]
    exact = norm_rope(wide, order=order, heads=heads, backend="reference")
    for i in range(2):
        assert_within(result[i], rough[i], exact[i], "q or k")
    if fp8:
        error = (result.k8.double() * result.k_scale.unsqueeze(-1) - exact.k).abs()
        assert (error <= exact.k.abs() / 15 + 2**-9 * result.k_scale.unsqueeze(-1)).all()


@on_device
def test_reorder_tokens(device, dtype, tokens):
    x = inputs(device, dtype, tokens, 1)[0]
    order = torch.rand(2, 3, tokens, generator=torch.Generator().manual_seed(0)).argsort(-1).to(device)
    heads = torch.tensor([[True, False, True]], device=device)
    moved = run(device, lambda: reorder_tokens(x, order, heads=heads, backend="triton"))
    assert torch.equal(moved, reorder_tokens(x, order, heads=heads, backend="reference"))


@on_device
def test_sampled_attention(device, dtype, tokens):
    q, k, v = inputs(device, dtype, 70, tokens)
    generator = torch.Generator().manual_seed(0)
    masks = [(torch.rand(1, 1, 70, tokens, generator=generator) < share).to(device) for share in (0.3, 0.01)]
    result = run(device, lambda: sampled_attention(q, k, v, masks, backend="triton"))
    for output, lse, mask in zip(result.masked_output, result.masked_lse, masks, strict=True):
        assert_attention((output, lse), q, k, v, mask, 0.125)
    assert_attention((result.output, result.lse), q, k, v, torch.ones_like(masks[0]), 0.125)


@on_device
def test_antidiagonal_scores(device, dtype, tokens):
    q, k, _ = inputs(device, dtype, tokens, tokens - 7)
    actual = run(device, lambda: antidiagonal_scores(q, k, 8, backend="triton"))
    exact = antidiagonal_scores(q.double(), k.double(), 8, backend="reference")
    rough = antidiagonal_scores(q.cpu(), k.cpu(), 8, backend="reference").to(device)
    assert_within(actual, rough, exact, "scores")


@on_device
@pytest.mark.parametrize("side", [64, 128])
def test_block_mass(device, dtype, tokens, side):
    q, k, _ = inputs(device, dtype, tokens, tokens - 7)
    lse = (q.double() @ k.double().mT / 8).logsumexp(-1).float()
    actual = run(device, lambda: block_mass(q, k, lse, BlockSize(side, side), backend="triton"))
    exact = block_mass(q.double(), k.double(), lse, BlockSize(side, side), backend="reference")
    rough = block_mass(q.cpu(), k.cpu(), lse.cpu(), BlockSize(side, side), backend="reference").to(device)
    assert_within(actual, rough, exact, "mass")


@on_device
def test_kmeans(device, dtype, tokens):
    x = inputs(device, dtype, tokens, 1)[0]
    first = run(device, lambda: kmeans(x, 33, iterations=1, backend="triton"))
    again = run(device, lambda: kmeans(x, 33, iterations=1, backend="triton"))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    labels = first.labels.long().unsqueeze(-1)
    counts = (
        torch.zeros_like(first.sizes).long().scatter_add(2, labels.squeeze(-1), labels.squeeze(-1) * 0 + 1)
    )
    assert torch.equal(first.sizes.long(), counts)
    sums = torch.zeros_like(first.centroids).double().scatter_add(2, labels.expand_as(x), x.double())
    filled = counts > 0
    means = (sums / counts.clamp(min=1).unsqueeze(-1))[filled]
    torch.testing.assert_close(first.centroids[filled].double(), means, rtol=1e-4, atol=1e-5)
