"""Antidiagonal mass: the native kernel against fp64, stretches, threads, refusals. The loops are in test_xattention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import antidiagonal_mass
from videosieve.kernels.antidiagonal_mass import native, reference
from videosieve.kernels.antidiagonal_mass.reference import sum_blocks
from videosieve.kernels.native_library import ELEMENTS, load, refuse_library
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within

SETS = load().instruction_sets if refuse_library() is None else ()
needs_native = pytest.mark.skipif(not SETS, reason=f"{refuse_library()}")


def check(actual, q, k, stride, side, causal=False):
    """A mass is off by the rounding of its scores; the largest mass of a row says on what scale."""
    exact = reference.antidiagonal_mass(q.double(), k.double(), stride, side, 0.3, causal)
    rough = reference.antidiagonal_mass(q.float(), k.float(), stride, side, 0.3, causal)
    assert_within(actual, rough, exact, "mass", least=float(exact.max()))


@needs_native
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize(
    ("queries", "keys", "stride", "side"),
    [(641, 333, 3, 48), (75, 63, 16, 32), (5, 40, 8, 64), (700, 900, 1, 300), (400, 401, 4, 64)],
)
def test_the_native_kernel_matches_fp64(instruction_set, dtype, queries, keys, stride, side):
    """Blocks of less, as many and more cells than a panel; last cells partial in one, both and no axis."""
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=24, dtype=dtype, contiguous=False)
    check(native.antidiagonal_mass(q, k, stride, side, 0.3, False, instruction_set), q, k, stride, side)


@needs_native
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize(
    ("queries", "keys", "stride", "side"),
    [(641, 641, 3, 48), (75, 141, 16, 32), (5, 40, 8, 64), (700, 900, 1, 300), (401, 401, 4, 64)],
)
def test_the_causal_native_kernel_matches_fp64(instruction_set, dtype, queries, keys, stride, side):
    """The diagonal within a panel, at its end and behind it; more keys than queries, by whole cells and not."""
    q, k, _ = make_qkv(queries, keys, batch=2, heads=2, head_dim=24, dtype=dtype, contiguous=False)
    mass = native.antidiagonal_mass(q, k, stride, side, 0.3, True, instruction_set)
    check(mass, q, k, stride, side, True)


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(0, 90),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(0, 99),
    st.booleans(),
)
def test_any_size_matches_fp64(queries, more, stride, cells, seed, causal):
    keys = queries + more if causal else 1 + more
    q, k, _ = make_qkv(queries, keys, head_dim=4, generator=torch.Generator().manual_seed(seed))
    mass = antidiagonal_mass(q, k, stride, stride * cells, scale=0.3, causal=causal, backend="native")
    check(mass, q, k, stride, stride * cells, causal)


@needs_native
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    q, k, _ = make_qkv(1200, 900, heads=3, head_dim=64)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(antidiagonal_mass(q, k, 4, 64, backend="native"))
    assert all(torch.equal(other, results[0]) for other in results[1:])


@pytest.mark.parametrize("causal", [False, True], ids=["all keys", "causal"])
def test_stretches_change_nothing(causal, monkeypatch):
    q, k, _ = make_qkv(75, 75, batch=2)
    whole = antidiagonal_mass(q, k, 4, 16, causal=causal, backend="reference")
    passes = []
    real = reference.antidiagonal_scores
    monkeypatch.setattr(reference, "antidiagonal_scores", lambda *a, **k: passes.append(1) or real(*a, **k))
    monkeypatch.setitem(reference.SCORES_AT_ONCE, "cpu", 1)
    parts = antidiagonal_mass(q, k, 4, 16, causal=causal, backend="reference")
    torch.testing.assert_close(parts, whole)
    assert len(passes) == -(-75 // 16)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_sums_over_rectangles_match_loops(height, width, rows, columns):
    values = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0))
    sums = sum_blocks(values, rows, columns)
    assert sums.shape == (2, -(-height // rows), -(-width // columns))
    for i in range(sums.shape[1]):
        for j in range(sums.shape[2]):
            part = values[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            torch.testing.assert_close(sums[:, i, j], part.sum((1, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 3, "side": 16}, "side must be a multiple of stride, got side=16 and stride=3"),
        ({"stride": 0, "side": 16}, "got stride=0"),
        ({"stride": 4, "side": 16, "causal": True}, "as many keys as queries, .* got 24 queries and 20 keys"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    q, k, _ = make_qkv(24, 20)
    with pytest.raises(ShapeError, match=message):
        antidiagonal_mass(q, k, **options)


@needs_native
def test_the_native_kernel_refuses_in_a_sentence():
    q, k, _ = make_qkv(20, 20)
    with pytest.raises(BackendError, match="it needs a stride of at most"):
        antidiagonal_mass(q, k, native.MOST_STRIDE + 1, native.MOST_STRIDE + 1, causal=True, backend="native")


def test_queries_behind_their_keys_have_the_mass_of_the_end_of_the_whole():
    """A chunk of a sequence: its rows are the last ones of the square call, whatever the stretches."""
    q, k, _ = make_qkv(640, 640, heads=2, head_dim=8)
    whole = antidiagonal_mass(q, k, 8, 32, causal=True)
    chunk = antidiagonal_mass(q[:, :, 256:], k, 8, 32, causal=True)
    torch.testing.assert_close(chunk, whole[:, :, 8:])


@pytest.mark.parametrize("causal", [False, True])
def test_heads_may_share_keys(causal):
    q, k, _ = make_qkv(75, 75, heads=6, head_dim=8)
    shared = k[:, :2]
    expected = antidiagonal_mass(q, shared.repeat_interleave(3, 1), 8, 32, causal=causal)
    torch.testing.assert_close(antidiagonal_mass(q, shared, 8, 32, causal=causal), expected)
