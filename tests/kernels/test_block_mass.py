"""Block mass against loops in fp64, at sizes that the block does not divide."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import block_mass
from videosieve.kernels.block_mass import IMPLEMENTATIONS, cpu
from videosieve.kernels.native_library import refuse_library
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within

ON_CPU = {"cpu", "reference"} | ({"native"} if refuse_library() is None else set())
BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name in ON_CPU]
backends = pytest.mark.parametrize("backend", BACKENDS)


def loops(q, k, lse, block, scale, dtype=torch.float64):
    """exp(score − lse) of every pair in `dtype`, summed block by block."""
    scores = (q.to(dtype) @ k.to(dtype).mT) * scale
    weights = (scores - lse.to(dtype).unsqueeze(-1)).exp()
    queries, keys = weights.shape[-2:]
    rows = []
    for i in range(0, queries, block.query):
        part = weights[..., i : i + block.query, :]
        sums = [part[..., j : j + block.key].sum((-1, -2)) for j in range(0, keys, block.key)]
        rows.append(torch.stack(sums, -1))
    return torch.stack(rows, -2)


def exact_lse(q, k, scale):
    return (q.double() @ k.double().mT * scale).logsumexp(-1)


def check(backend, q, k, block, lse=None, scale=None):
    chosen = q.shape[-1] ** -0.5 if scale is None else scale
    lse = exact_lse(q, k, chosen).float() if lse is None else lse
    actual = block_mass(q, k, lse, block, scale=scale, backend=backend)
    wide = torch.promote_types(q.dtype, torch.float32)
    assert actual.dtype == wide
    exact = loops(q, k, lse, block, chosen)
    assert actual.shape == exact.shape
    assert_within(actual, loops(q, k, lse, block, chosen, wide), exact, "mass")
    return actual


@backends
@pytest.mark.parametrize(
    "block", [BlockSize(16, 16), BlockSize(64, 64), BlockSize(32, 64), BlockSize(64, 16)], ids=str
)
@pytest.mark.parametrize(("queries", "keys"), [(75, 75), (63, 200), (200, 63), (5, 1)])
def test_every_block_matches_the_loops(backend, block, queries, keys):
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=8)
    check(backend, q, k, block)


@backends
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_other_precisions_are_summed_in_fp32_or_fp64(backend, dtype, contiguous):
    if (backend, dtype) == ("native", torch.float64):
        pytest.skip("the native kernel computes in fp32 and refuses fp64")
    q, k, _ = make_qkv(75, 63, heads=3, dtype=dtype, contiguous=contiguous)
    check(backend, q, k, BlockSize(16, 32), scale=0.4)


@backends
def test_a_block_row_adds_up_to_its_query_tokens(backend):
    q, k, _ = make_qkv(75, 63)
    mass = block_mass(q, k, exact_lse(q, k, 0.25), BlockSize(16, 16), backend=backend)
    expected = torch.tensor([16.0, 16, 16, 16, 11]).expand(1, 2, -1)
    torch.testing.assert_close(mass.sum(-1), expected)


@backends
def test_a_stale_lse_scales_every_query_by_a_factor_of_its_own(backend):
    q, k, _ = make_qkv(12, 75)
    exact = exact_lse(q, k, 0.25)
    drift = torch.linspace(-2, 2, 12)
    fresh = block_mass(q, k, exact, BlockSize(1, 16), backend=backend)
    stale = block_mass(q, k, exact - drift, BlockSize(1, 16), backend=backend)
    torch.testing.assert_close(stale, fresh * drift.exp()[:, None])


@backends
def test_scores_far_from_zero_stay_exact(backend):
    """exp is taken of the difference, so scores of some hundreds neither overflow nor vanish."""
    q, k, _ = make_qkv(75, 75)
    check(backend, q * 100, k, BlockSize(16, 16))


def test_tiles_of_any_width_give_the_same(monkeypatch):
    q, k, _ = make_qkv(75, 200)
    for size in (1, 16 * 48 * 4, 16 * 80 * 4):
        monkeypatch.setattr(cpu, "SCORE_BYTES", size)
        check("cpu", q, k, BlockSize(16, 16))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_any_size_and_block_matches_the_loops(queries, keys, query_side, key_side, seed):
    q, k, _ = make_qkv(queries, keys, head_dim=4, generator=torch.Generator().manual_seed(seed))
    for backend in BACKENDS:
        check(backend, q, k, BlockSize(query_side, key_side))


def test_gradients_fall_to_an_implementation_that_has_them():
    q, k, _ = (x.requires_grad_() for x in make_qkv(16, 16))
    block_mass(q, k, torch.zeros(1, 2, 16), BlockSize(8, 8)).sum().backward()
    assert k.grad is not None
    with pytest.raises(BackendError, match="no backward"):
        block_mass(q, k, torch.zeros(1, 2, 16), BlockSize(8, 8), backend="cpu")


@pytest.mark.parametrize(
    ("k", "lse", "message"),
    [
        ((1, 2, 8, 5), (1, 2, 8), r"differ in tokens only, got \[1, 2, 8, 4\] and \[1, 2, 8, 5\]"),
        ((1, 2, 9, 4), (1, 2, 9), r"lse must be \[1, 2, 8\]: one value per query of q, got \[1, 2, 9\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(k, lse, message):
    with pytest.raises(ShapeError, match=message):
        block_mass(torch.zeros(1, 2, 8, 4), torch.zeros(k), torch.zeros(lse), BlockSize(4, 4))
