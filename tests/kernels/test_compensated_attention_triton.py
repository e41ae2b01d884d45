"""The Triton kernels of compensation, in the interpreter against fp64 and compiled without a GPU."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import centroid_mass, centroids_of, compensated_attention, pool_blocks
from videosieve.kernels.centroid_mass.launch import LAUNCHES as MASS_LAUNCHES
from videosieve.kernels.centroid_mass.triton import prepare as prepare_mass
from videosieve.kernels.centroid_mass.triton_kernel import centroid_mass_kernel
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.kernels.pool_blocks.launch import LAUNCHES as POOL_LAUNCHES
from videosieve.kernels.pool_blocks.triton import prepare as prepare_pool
from videosieve.kernels.pool_blocks.triton_kernel import pool_blocks_kernel
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.compensation import assert_compensated, pool_oracle
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask
from videosieve.testing.tolerances import assert_within
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted

FORMS = {
    "uniform": (lambda: random_mask(75, 91, BlockSize(32, 16), 0.4, batch=2, heads=2), 32),
    "head_dim 96": (lambda: random_mask(75, 91, BlockSize(16, 16), 0.2, heads=2), 96),
    "ragged": (lambda: random_ragged_mask(75, 91, (3, 40), 0.3, heads=2), 16),
}


def order_of(heads, tokens):
    return torch.rand(1, heads, tokens, generator=torch.Generator().manual_seed(2)).argsort(-1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_it_matches_fp64(form, dtype):
    make, head_dim = FORMS[form]
    mask = make()
    q, k, v = make_qkv(75, 91, batch=2, head_dim=head_dim, dtype=dtype)
    centroids = centroids_of(k, v, mask)
    with interpreted():
        actual = compensated_attention(q, k, v, mask, centroids, scale=0.3, backend="triton")
    assert_compensated(actual, q, k, v, mask, centroids, 0.3)


def test_orders_and_blocks_that_may_not_answer():
    q, k, v = make_qkv(75, 91)
    mask = random_mask(75, 91, BlockSize(16, 16), 0.4, heads=2)
    queries, keys = order_of(2, 75), order_of(2, 91)
    allowed = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    centroids = replace(centroids_of(k, v, mask, keys), allowed=allowed)
    orders = {"query_order": queries, "key_order": keys}
    with interpreted():
        actual = compensated_attention(q, k, v, mask, centroids, backend="triton", **orders)
    expected = compensated_attention(q, k, v, mask, centroids, backend="reference", **orders)
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_a_row_that_keeps_everything_is_bit_equal():
    q, k, v = make_qkv(40, 40)
    mask = random_mask(40, 40, BlockSize(16, 16), 0.5)
    mask.keep[:, :, 1] = True
    centroids = centroids_of(k, v, mask)
    with interpreted():
        actual = compensated_attention(q, k, v, mask, centroids, backend="triton").output
        nothing = replace(centroids, allowed=torch.zeros_like(mask.keep))
        plain = compensated_attention(q, k, v, mask, nothing, backend="triton").output
    assert torch.equal(actual[:, :, 16:32], plain[:, :, 16:32])
    assert not torch.equal(actual, plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("ordered", [False, True], ids=["in order", "reordered"])
def test_pooling_matches_fp64(dtype, ordered):
    _, k, _ = make_qkv(1, 150, heads=2, head_dim=20, dtype=dtype)
    offsets = torch.tensor([[[0, 3, 3, 70, 150], [0, 0, 30, 149, 150]]])
    order = order_of(2, 150) if ordered else None
    with interpreted():
        means, spreads = pool_blocks(k, offsets, order=order, backend="triton")
    exact, rough = (
        pool_oracle(k, offsets, order),
        pool_blocks(k.float(), offsets, order=order, backend="reference"),
    )
    assert_within(means, rough.means.to(dtype), exact[0], "means", float(k.abs().max()))
    assert_within(spreads, rough.spreads, exact[1], "spreads", float(k.double().square().sum(-1).max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("ordered", [False, True], ids=["in order", "reordered"])
def test_centroid_mass_matches_fp64(dtype, ordered):
    """A row without queries, one of several tiles, and more than one step of columns, some of them empty."""
    q, k, _ = make_qkv(150, 85, heads=2, head_dim=20, dtype=dtype)
    offsets = torch.tensor([[[0, 7, 7, 150]]])
    sizes = torch.arange(85).remainder(3).float().log()[None, None]
    order = order_of(2, 150) if ordered else None
    with interpreted():
        mass = centroid_mass(q, k, sizes, offsets, scale=0.3, order=order, backend="triton")
    arguments = (sizes, offsets)
    exact = centroid_mass(q.double(), k.double(), *arguments, scale=0.3, order=order, backend="reference")
    rough = centroid_mass(q.float(), k.float(), *arguments, scale=0.3, order=order, backend="reference")
    assert_within(mass, rough, exact, "mass")


def test_what_the_kernels_cannot_run_is_said():
    q, k, v = make_qkv(40, 40)
    mask = random_mask(40, 40, BlockSize(16, 16), 0.5)
    half = centroids_of(k.half(), v.half(), mask)
    with pytest.raises(
        ShapeError, match="share dtype and device, got q float32 on cpu, centroid_keys float16"
    ):
        compensated_attention(q, k, v, mask, half, backend="triton")
    with interpreted(), pytest.raises(BackendError, match="head_dim must be at most 128, got 160"):
        pool_blocks(torch.zeros(1, 1, 4, 160), torch.tensor([[[0, 4]]]), backend="triton")
    with pytest.raises(BackendError, match="it needs CUDA tensors, got cpu"):
        centroid_mass(q, k, torch.zeros(1, 1, 40), torch.tensor([[[0, 40]]]), backend="triton")


TOKENS, SIDE = 119_056, 64


def real_call(head_dim):
    x = torch.empty(1, TOKENS, 24, head_dim, dtype=torch.bfloat16, device="meta").transpose(1, 2)
    blocks = -(-TOKENS // SIDE)
    offsets = torch.empty(1, 1, blocks + 1, dtype=torch.int64, device="meta")
    order = torch.empty(1, 24, TOKENS, dtype=torch.int64, device="meta")
    return x, offsets, order, blocks


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in POOL_LAUNCHES}), ids=str)
def test_every_launch_of_pooling_compiles_without_spills(key, arch):
    x, offsets, order, blocks = real_call(*key)
    launch = POOL_LAUNCHES.find(arch, *key)
    means = torch.empty(1, 24, blocks, key[0], dtype=torch.bfloat16, device="meta")
    spreads = torch.empty(1, 24, blocks, device="meta")
    arguments = prepare_pool(x, offsets, order, means, spreads, launch)
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    compiled = compile_for(pool_blocks_kernel, arguments, arch, **options)
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in MASS_LAUNCHES}), ids=str)
def test_every_launch_of_centroid_mass_compiles_without_spills(key, arch):
    x, offsets, order, blocks = real_call(*key)
    launch = MASS_LAUNCHES.find(arch, *key)
    keys = torch.empty(1, 24, blocks, key[0], dtype=torch.bfloat16, device="meta")
    sizes = torch.empty(1, 1, blocks, device="meta")
    mass = torch.empty(1, 24, blocks, blocks, device="meta")
    arguments = prepare_mass(x, keys, (sizes, offsets, order), mass, 0.1, launch)
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    compiled = compile_for(centroid_mass_kernel, arguments, arch, **options)
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]
    assert compiled.wgmma == (arch == 90)
