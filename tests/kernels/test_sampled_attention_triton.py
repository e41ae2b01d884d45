"""Attention of sampled rows in Triton: interpreted, and compiled without a GPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError
from videosieve.kernels import sampled_attention
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.kernels.sampled_attention.launch import LAUNCHES, splits
from videosieve.kernels.sampled_attention.triton import prepare
from videosieve.kernels.sampled_attention.triton_kernel import sampled_kernel
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_attention
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted


def make_masks(*shapes, density=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=generator) < density for shape in shapes]


def check(q, k, v, masks, scale=0.3):
    with interpreted():
        result = sampled_attention(q, k, v, masks, scale=scale, backend="triton")
    assert all(tensor.dtype == torch.float32 for tensor in result)
    assert result.masked_output.shape == (len(masks), *q.shape)
    everything = torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool)
    assert_attention((result.output, result.lse), q, k, v, everything, scale)
    for output, lse, mask in zip(result.masked_output, result.masked_lse, masks, strict=True):
        assert_attention((output, lse), q, k, v, mask, scale)
    return result


@pytest.mark.parametrize(("rows", "keys"), [(1, 75), (7, 63), (70, 200), (5, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_full_and_masked_rows_match_fp64(rows, keys, dtype, contiguous):
    q, k, v = make_qkv(rows, keys, batch=2, heads=3, dtype=dtype, contiguous=contiguous)
    check(q, k, v, make_masks((1, 1, rows, keys), (2, 3, rows, keys)))
    check(q, k, v, make_masks((2, 1, rows, keys)))


def test_stretches_of_keys_are_joined():
    q, k, v = make_qkv(3, 700, heads=1, head_dim=8)
    assert splits(q, 700) > 5
    masks = make_masks((1, 1, 3, 700), (1, 1, 3, 700))
    masks[0][..., 100:] = False  # whole stretches keep nothing
    check(q, k, v, masks)


def test_a_row_that_keeps_no_key_gives_zero_and_minus_infinity():
    q, k, v = make_qkv(7, 300)
    masks = make_masks((1, 1, 7, 300), (1, 2, 7, 300))
    masks[0][..., 3, :] = False
    masks[1][:, 1, 5] = False
    result = check(q, k, v, masks)
    assert not result.masked_output[0, :, :, 3].any()
    assert result.masked_lse[1, 0, 1, 5] == -torch.inf


@pytest.mark.parametrize("gap", [30.0, 300.0])
def test_kept_mass_that_underflows_is_still_attended_right(gap):
    q, k, v = make_qkv(7, 75, batch=2)
    q, k = q.abs(), k.clone()
    k[:, :, 40] = 0.0
    k[..., 0] = torch.where(torch.arange(75) == 40, 1.0, k[..., 0] * 0.01)
    q[..., 0] = gap * 4
    masks = make_masks((1, 1, 7, 75), (2, 2, 7, 75))
    for mask in masks:
        mask[..., 40] = False
    check(q, k, v, masks)


@settings(max_examples=10)
@given(
    rows=st.integers(1, 70),
    keys=st.integers(1, 300),
    head_dim=st.integers(1, 128),
    density=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_rows_and_masks_match_fp64(rows, keys, head_dim, density, seed):
    q, k, v = make_qkv(rows, keys, head_dim=head_dim, generator=torch.Generator().manual_seed(seed))
    check(
        q,
        k,
        v,
        make_masks((1, 1, rows, keys), (1, 2, rows, keys), density=density, seed=seed),
        scale=head_dim**-0.5,
    )


def test_three_masks_are_refused():
    q, k, v = make_qkv(7, 75)
    with interpreted(), pytest.raises(BackendError, match="one or two masks in one pass, got 3"):
        sampled_attention(q, k, v, make_masks(*[(1, 1, 7, 75)] * 3), backend="triton")


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in LAUNCHES}), ids=str)
def test_every_launch_compiles_without_spills(key, arch):
    launch = LAUNCHES.find(arch, *key)
    dtype = torch.bfloat16

    def meta(*shape, dtype=dtype):
        return torch.empty(shape, dtype=dtype, device="meta")

    k, q = meta(1, 119056, 24, key[0]).transpose(1, 2), meta(1, 24, 64, key[0])
    masks = [meta(1, 1, 64, 119056, dtype=torch.bool)] * 2
    out = meta(3, 11, 1, 24, 64, key[0], dtype=torch.float32)
    compiled = compile_for(
        sampled_kernel,
        prepare(q, k, k, masks, (out, out[..., 0]), 0.1, launch),
        arch,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]
    assert compiled.wgmma == (arch == 90)
