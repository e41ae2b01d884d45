"""Block mass in Triton: interpreted, and compiled without a GPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError
from videosieve.kernels import block_mass
from videosieve.kernels.block_mass.launch import LAUNCHES
from videosieve.kernels.block_mass.triton import prepare
from videosieve.kernels.block_mass.triton_kernel import block_mass_kernel
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted


def sums(q, k, lse, block, scale, dtype):
    weights = (q.to(dtype) @ k.to(dtype).mT * scale - lse.to(dtype).unsqueeze(-1)).exp()
    pad = 0, -k.shape[2] % block.key, 0, -q.shape[2] % block.query
    padded = torch.nn.functional.pad(weights, pad)
    return padded.unflatten(-1, (-1, block.key)).unflatten(-3, (-1, block.query)).sum((-1, -3))


def check(q, k, block, scale=0.3, shift=0.0):
    lse = (q.double() @ k.double().mT * scale).logsumexp(-1).float() + shift
    with interpreted():
        actual = block_mass(q, k, lse, block, scale=scale, backend="triton")
    assert actual.dtype == torch.float32
    exact, rough = (sums(q, k, lse, block, scale, dtype) for dtype in (torch.float64, torch.float32))
    assert actual.shape == exact.shape
    assert_within(actual, rough, exact, "mass")


@pytest.mark.parametrize("block", [BlockSize(16, 16), BlockSize(64, 64), BlockSize(20, 33)], ids=str)
@pytest.mark.parametrize(("queries", "keys"), [(75, 63), (63, 200), (5, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_every_block_matches_fp64(block, queries, keys, dtype):
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=8, dtype=dtype)
    check(q, k, block)


def test_blocks_of_128_and_a_stale_lse_match_fp64():
    q, k, _ = make_qkv(200, 300, dtype=torch.float16, head_dim=64)
    check(q, k, BlockSize(128, 128), shift=-1.5)


def test_scores_far_from_zero_stay_exact():
    q, k, _ = make_qkv(75, 75)
    check(q * 100, k, BlockSize(16, 16))


@settings(max_examples=10)
@given(
    queries=st.integers(1, 150),
    keys=st.integers(1, 150),
    query_side=st.integers(1, 64),
    key_side=st.integers(1, 64),
    head_dim=st.integers(1, 128),
)
def test_any_size_and_block_matches_fp64(queries, keys, query_side, key_side, head_dim):
    q, k, _ = make_qkv(queries, keys, head_dim=head_dim)
    check(q, k, BlockSize(query_side, key_side), scale=head_dim**-0.5)


def test_a_walk_ends_where_its_programs_blocks_end():
    q, k, _ = make_qkv(5, 65 * 16 + 3, heads=1)
    check(q, k, BlockSize(16, 16))


def test_blocks_too_large_for_a_tile_are_refused():
    q, k, _ = make_qkv(16, 16)
    with interpreted(), pytest.raises(BackendError, match="block sides must be at most 128, got 64 and 256"):
        block_mass(q, k, torch.zeros(1, 2, 16), BlockSize(64, 256), backend="triton")


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in LAUNCHES}), ids=str)
def test_every_launch_compiles_without_spills(key, arch):
    launch = LAUNCHES.find(arch, *key)
    side, (head_dim,) = 128, key
    dtype = torch.bfloat16
    q = torch.empty(1, 119056, 24, head_dim, dtype=dtype, device="meta").transpose(1, 2)
    lse, block = torch.empty(1, 24, 119056, device="meta"), BlockSize(side, side)
    blocks = -(-119056 // side)
    mass = torch.empty(1, 24, blocks, blocks, device="meta")
    compiled = compile_for(
        block_mass_kernel,
        prepare(q, q, lse, mass, block, 0.1, launch),
        arch,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]
    assert compiled.wgmma == (arch == 90)
