"""Antidiagonal scores against loops in fp64, at sizes that neither stride nor block divides."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import antidiagonal_scores
from videosieve.kernels.antidiagonal_scores import IMPLEMENTATIONS
from videosieve.kernels.native_library import refuse_library
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within

ON_CPU = {"cpu", "reference"} | ({"native"} if refuse_library() is None else set())
BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name in ON_CPU]
backends = pytest.mark.parametrize("backend", BACKENDS)


def loops(q, k, stride, scale):
    """Every pair on the antidiagonal of every cell, one by one."""
    q, k = q.double(), k.double()
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    scores = torch.zeros(batch, heads, -(-queries // stride), -(-keys // stride), dtype=torch.float64)
    for i in range(scores.shape[2]):
        for j in range(scores.shape[3]):
            for s in range(stride):
                query, key = i * stride + stride - 1 - s, j * stride + s
                if query < queries and key < keys:
                    scores[:, :, i, j] += scale / stride * (q[:, :, query] * k[:, :, key]).sum(-1)
    return scores


def check(backend, q, k, stride, scale=None):
    actual = antidiagonal_scores(q, k, stride, scale=scale, backend=backend)
    wide = torch.promote_types(q.dtype, torch.float32)
    assert actual.dtype == wide
    exact = loops(q, k, stride, q.shape[-1] ** -0.5 if scale is None else scale)
    assert actual.shape == exact.shape
    rough = loops(q.to(wide), k.to(wide), stride, q.shape[-1] ** -0.5 if scale is None else scale).to(wide)
    # A sum is rounded as it grows: by what its terms come to, however much of it cancels in the end.
    terms = loops(q.abs(), k.abs(), stride, abs(q.shape[-1] ** -0.5 if scale is None else scale))
    assert_within(actual, rough, exact, "scores", least=float(terms.max()))


@backends
@pytest.mark.parametrize("stride", [1, 4, 8, 16])
@pytest.mark.parametrize(("queries", "keys"), [(75, 75), (63, 50), (5, 40), (48, 3)])
def test_every_antidiagonal_matches_the_loops(backend, stride, queries, keys):
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=8)
    check(backend, q, k, stride)


@backends
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_other_precisions_are_scored_in_fp32_or_fp64(backend, dtype, contiguous):
    if (backend, dtype) == ("native", torch.float64):
        pytest.skip("the native kernel computes in fp32 and refuses fp64")
    q, k, _ = make_qkv(75, 63, heads=3, dtype=dtype, contiguous=contiguous)
    check(backend, q, k, 8, scale=0.4)


@backends
def test_a_stretch_of_the_queries_gives_its_rows_of_the_whole(backend):
    q, k, _ = make_qkv(75, 75)
    whole = antidiagonal_scores(q, k, 8, backend=backend)
    parts = [antidiagonal_scores(part, k, 8, backend=backend) for part in q.split(32, 2)]
    torch.testing.assert_close(torch.cat(parts, 2), whole)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 99))
def test_any_size_and_stride_matches_the_loops(queries, keys, stride, seed):
    q, k, _ = make_qkv(queries, keys, head_dim=4, generator=torch.Generator().manual_seed(seed))
    for backend in BACKENDS:
        check(backend, q, k, stride)


def test_gradients_fall_to_an_implementation_that_has_them():
    q, k, _ = (x.requires_grad_() for x in make_qkv(16, 16))
    antidiagonal_scores(q, k, 4).sum().backward()
    assert q.grad is not None
    with pytest.raises(BackendError, match="no backward"):
        antidiagonal_scores(q, k, 4, backend="cpu")


@pytest.mark.parametrize(
    ("q", "k", "stride", "message"),
    [
        ((1, 2, 8, 4), (1, 2, 8, 5), 4, r"differ in tokens only, got \[1, 2, 8, 4\] and \[1, 2, 8, 5\]"),
        ((1, 2, 8, 4), (1, 3, 8, 4), 4, "differ in tokens only"),
        ((8, 4), (8, 4), 4, r"q must be float64 .* \[batch, heads, tokens, head_dim\], got float32 \[8, 4\]"),
        ((1, 2, 8, 4), (1, 2, 8, 4), 0, "at least 1 and at most 65536, got stride=0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(q, k, stride, message):
    with pytest.raises(ShapeError, match=message):
        antidiagonal_scores(torch.zeros(q), torch.zeros(k), stride)
