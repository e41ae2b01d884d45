"""Antidiagonal scores in Triton: interpreted, and compiled without a GPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import ShapeError
from videosieve.kernels import antidiagonal_scores
from videosieve.kernels.antidiagonal_scores.launch import LAUNCHES
from videosieve.kernels.antidiagonal_scores.triton import prepare
from videosieve.kernels.antidiagonal_scores.triton_kernel import antidiagonal_kernel
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted


def cells(q, k, stride, scale, dtype):
    """Sum over the antidiagonal of every cell of the scores, in `dtype`."""
    scores = torch.nn.functional.pad(
        q.to(dtype) @ k.to(dtype).mT, (0, -k.shape[2] % stride, 0, -q.shape[2] % stride)
    )
    tiles = scores.unflatten(-1, (-1, stride)).unflatten(-3, (-1, stride)).transpose(-3, -2)
    return tiles.flip(-2).diagonal(dim1=-2, dim2=-1).sum(-1) * scale / stride


def check(q, k, stride, scale=0.3):
    with interpreted():
        actual = antidiagonal_scores(q, k, stride, scale=scale, backend="triton")
    assert actual.dtype == torch.float32
    exact, rough = (cells(q, k, stride, scale, dtype) for dtype in (torch.float64, torch.float32))
    assert actual.shape == exact.shape
    assert_within(actual, rough, exact, "scores")


@pytest.mark.parametrize("stride", [1, 4, 8, 16])
@pytest.mark.parametrize(("queries", "keys"), [(75, 63), (63, 200), (5, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_every_cell_matches_fp64(stride, queries, keys, dtype):
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=8, dtype=dtype)
    check(q, k, stride)


@settings(max_examples=10)
@given(
    queries=st.integers(1, 300),
    keys=st.integers(1, 300),
    stride=st.integers(1, 20),
    head_dim=st.integers(1, 128),
    contiguous=st.booleans(),
)
def test_any_size_matches_fp64(queries, keys, stride, head_dim, contiguous):
    q, k, _ = make_qkv(queries, keys, head_dim=head_dim, contiguous=contiguous)
    check(q, k, stride)


def test_inputs_of_two_dtypes_are_refused():
    q, k, _ = make_qkv(16, 16)
    with interpreted(), pytest.raises(ShapeError, match="must share dtype and device"):
        antidiagonal_scores(q, k.half(), 4, backend="triton")


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in LAUNCHES}), ids=str)
def test_every_launch_compiles_without_spills(key, arch):
    launch = LAUNCHES.find(arch, *key)
    dtype = torch.bfloat16
    q = torch.empty(1, 119056, 24, key[0], dtype=dtype, device="meta").transpose(1, 2)
    scores = torch.empty(1, 24, 7441, 7441, device="meta")
    compiled = compile_for(
        antidiagonal_kernel,
        prepare(q, q, scores, 16, 0.1, launch),
        arch,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]
    assert compiled.wgmma == (arch == 90)
