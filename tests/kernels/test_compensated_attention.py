"""Compensated attention against fp64 at awkward sizes: blocks of one size and ragged, orders, limits, refusals."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import Centroids, block_sparse_attention, centroids_of, compensated_attention
from videosieve.kernels.compensated_attention import IMPLEMENTATIONS, native
from videosieve.kernels.native_library import load, refuse_library
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.compensation import assert_compensated
from videosieve.testing.factories import band_mask, make_qkv, random_mask, random_ragged_mask

NATIVE = refuse_library() is None
ON_CPU = {"cpu", "reference"} | ({"native"} if NATIVE else set())
BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name in ON_CPU]
RAGGED = [name for name in BACKENDS if name != "cpu"]
backends = pytest.mark.parametrize("backend", BACKENDS)


def check(backend, q, k, v, mask, centroids=None, scale=0.3):
    centroids = centroids or centroids_of(k, v, mask)
    actual = compensated_attention(q, k, v, mask, centroids, scale=scale, backend=backend)
    assert actual.output.dtype == q.dtype
    assert actual.lse.dtype == actual.answered_lse.dtype == torch.promote_types(q.dtype, torch.float32)
    assert_compensated(actual, q, k, v, mask, centroids, scale)
    return actual


@backends
@pytest.mark.parametrize("block", [BlockSize(16, 16), BlockSize(32, 64), BlockSize(64, 16)], ids=str)
@pytest.mark.parametrize("tokens", [75, 63, 200])
def test_random_blocks_per_batch_and_head_match_fp64(backend, block, tokens):
    q, k, v = make_qkv(tokens, tokens + 3, batch=2, heads=3, head_dim=32)
    check(backend, q, k, v, random_mask(tokens, tokens + 3, block, 0.4, batch=2, heads=3))


@pytest.mark.parametrize("backend", RAGGED)
@pytest.mark.parametrize("blocks", [(1, 1), (5, 7), (20, 9)], ids=str)
def test_ragged_blocks_match_fp64(backend, blocks):
    q, k, v = make_qkv(75, 76, batch=2, heads=3, head_dim=32)
    check(backend, q, k, v, random_ragged_mask(75, 76, blocks, 0.4, batch=2, heads=3))


@backends
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_are_as_exact_as_they_can_be(backend, dtype):
    if (backend, dtype) == ("native", torch.float64):
        pytest.skip("the native kernel computes in fp32 and refuses fp64")
    if backend == "cpu" and dtype in (torch.float16, torch.bfloat16):
        pytest.skip("two results of half precision are joined, each rounded once: see the next test")
    q, k, v = make_qkv(200, 200, heads=2, head_dim=64, dtype=dtype)
    check(backend, q, k, v, band_mask(200, BlockSize(32, 32), 64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_joined_result_is_off_by_one_more_rounding(dtype):
    q, k, v = make_qkv(200, 200, heads=2, head_dim=64, dtype=dtype)
    mask = band_mask(200, BlockSize(32, 32), 64)
    centroids = centroids_of(k, v, mask)
    joined = compensated_attention(q, k, v, mask, centroids, backend="cpu").output.double()
    wide = replace(centroids, keys=centroids.keys.double(), values=centroids.values.double())
    exact = compensated_attention(*(x.double() for x in (q, k, v)), mask, wide, backend="reference").output
    # The kernel's weights, its output and the joined one are rounded, to values of at most the largest of v.
    assert (joined - exact).abs().max() <= 4 * torch.finfo(dtype).eps * v.abs().max()


@backends
def test_axes_of_size_one_are_shared(backend):
    q, k, v = make_qkv(75, 75, batch=2, heads=3)
    check(backend, q, k, v, random_mask(75, 75, BlockSize(16, 16), 0.5, heads=3))
    mask = random_mask(75, 75, BlockSize(16, 16), 0.5)
    allowed = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    check(backend, q, k, v, mask, replace(centroids_of(k, v, mask), allowed=allowed))


@backends
def test_blocks_of_equal_keys_and_values_are_answered_exactly(backend):
    q, k, v = make_qkv(75, 75, dtype=torch.float64)
    block = torch.arange(75) // 16 * 16
    q, k, v = q.float(), k[:, :, block].float(), v[:, :, block].float()
    mask = random_mask(75, 75, BlockSize(16, 16), 0.3, heads=2)
    actual = check(backend, q, k, v, mask)
    dense = scaled_dot_product_attention(q, k, v, scale=0.3)
    torch.testing.assert_close(actual.output, dense)
    torch.testing.assert_close(actual.answered_lse, (q @ k.mT * 0.3).logsumexp(-1))


@backends
def test_what_answers_never_outweighs_what_was_left_out(backend):
    """Jensen: n exp(q·k̄) is at most Σ exp(q·k)."""
    q, k, v = make_qkv(200, 200, head_dim=32)
    actual = check(backend, q, k, v, random_mask(200, 200, BlockSize(16, 16), 0.2, heads=2))
    everything = (q.double() @ k.double().mT * 0.3).logsumexp(-1)
    assert (actual.answered_lse <= everything + 1e-5).all()
    assert (actual.answered_lse >= actual.lse).all()


@backends
def test_rows_that_keep_everything_are_what_they_were_bit_by_bit(backend):
    q, k, v = make_qkv(75, 75, heads=2)
    mask = random_mask(75, 75, BlockSize(16, 16), 0.5, heads=2)
    mask.keep[:, :, 2] = True
    plain = block_sparse_attention(q, k, v, mask, backend=backend)[0]
    actual = compensated_attention(q, k, v, mask, centroids_of(k, v, mask), backend=backend).output
    assert torch.equal(actual[:, :, 32:48], plain[:, :, 32:48])
    assert not torch.equal(actual, plain)
    full = BlockMask.dense(75, BlockSize(16, 16))
    whole = compensated_attention(q, k, v, full, centroids_of(k, v, full), backend=backend)
    expected = block_sparse_attention(q, k, v, full, backend=backend)
    assert torch.equal(whole.output, expected[0])
    assert torch.equal(whole.answered_lse, expected[1])


@backends
def test_rows_without_blocks_are_answered_by_centroids_alone(backend):
    q, k, v = make_qkv(75, 75)
    mask = BlockMask(torch.zeros(1, 1, 5, 5, dtype=torch.bool), BlockSize(16, 16), 75)
    actual = check(backend, q, k, v, mask)
    assert actual.lse.isneginf().all()
    nothing = replace(centroids_of(k, v, mask), allowed=torch.zeros(1, 1, 5, 5, dtype=torch.bool))
    assert not check(backend, q, k, v, mask, nothing).output.any()


@backends
def test_orders_are_those_of_the_mask(backend):
    q, k, v = make_qkv(75, 80, batch=2, heads=3)
    generator = torch.Generator().manual_seed(3)
    mask = random_mask(75, 80, BlockSize(16, 16), 0.4, batch=2, heads=3)
    queries = torch.rand(2, 3, 75, generator=generator).argsort(-1)
    keys = torch.rand(1, 3, 80, generator=generator).argsort(-1)
    centroids = centroids_of(k, v, mask, keys)
    orders = {"query_order": queries, "key_order": keys}
    actual = compensated_attention(q, k, v, mask, centroids, scale=0.3, backend=backend, **orders)
    moved = [
        x.gather(2, o.expand(2, 3, -1)[..., None].expand(x.shape))
        for x, o in ((q, queries), (k, keys), (v, keys))
    ]
    expected = compensated_attention(*moved, mask, centroids, scale=0.3, backend="reference")
    for got, want in zip(actual, expected, strict=True):
        index = queries if got.ndim == 3 else queries[..., None].expand(got.shape)
        torch.testing.assert_close(got.gather(2, index), want, atol=1e-5, rtol=1e-5)


@backends
def test_each_batch_element_stands_alone(backend):
    q, k, v = make_qkv(75, 75, batch=2)
    mask = random_mask(75, 75, BlockSize(16, 16), 0.4, batch=2, heads=2)
    together = compensated_attention(q, k, v, mask, centroids_of(k, v, mask), backend=backend)
    for b in range(2):
        alone = BlockMask(mask.keep[b : b + 1], mask.block, 75)
        parts = [x[b : b + 1] for x in (q, k, v)]
        single = compensated_attention(*parts, alone, centroids_of(*parts[1:], alone), backend=backend)
        for whole, part in zip(together, single, strict=True):
            torch.testing.assert_close(whole[b : b + 1], part)


@backends
def test_scores_far_from_zero_stay_finite(backend):
    q, k, v = make_qkv(75, 75)
    check(backend, q * 12, k * 12, v, band_mask(75, BlockSize(16, 16), 20))


@pytest.mark.skipif(not NATIVE, reason="there is no native library")
@pytest.mark.parametrize("instruction_set", load().instruction_sets if NATIVE else ())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("head_dim", [7, 64, 128])
def test_every_instruction_set_matches_fp64(instruction_set, dtype, head_dim):
    """Nearly three chunks of centroids, narrow and full panels, a head that keeps its order beside another's."""
    q, k, v = make_qkv(141, 340, heads=2, head_dim=head_dim, dtype=dtype)
    for mask in (
        random_mask(141, 340, BlockSize(48, 1), 0.2, heads=2),
        random_ragged_mask(141, 340, (5, 40), 0.4, heads=2),
    ):
        order = torch.stack(
            [torch.arange(340), torch.randperm(340, generator=torch.Generator().manual_seed(0))]
        )
        centroids = centroids_of(k, v, mask, order[None])
        arguments = (q, k, v, mask, centroids, centroids.answers(mask), 0.3, None, order[None])
        assert native.refuse(*arguments[:7]) is None
        result = native.compensated_attention(*arguments, instruction_set=instruction_set)
        moved = [torch.stack([x[:, h, order[h]] for h in range(2)], 1) for x in (k, v)]
        actual = type(compensated_attention(q, k, v, mask, centroids))(*result)
        assert_compensated(actual, q, *moved, mask, centroids, 0.3)


def test_the_cpu_path_refuses_ragged_blocks():
    q, k, v = make_qkv(75, 75)
    mask = random_ragged_mask(75, 75, (3, 4), 0.5)
    with pytest.raises(BackendError, match="blocks of one size"):
        compensated_attention(q, k, v, mask, centroids_of(k, v, mask), backend="cpu")


def test_centroids_of_another_mask_are_refused():
    q, k, v = make_qkv(75, 75)
    coarse, fine = (random_mask(75, 75, BlockSize(16, side), 0.5) for side in (32, 16))
    with pytest.raises(ShapeError, match=r"centroids must be \[1, 2, 5, 16\]"):
        compensated_attention(q, k, v, fine, centroids_of(k, v, coarse))
    good = centroids_of(k, v, fine)
    with pytest.raises(ShapeError, match="allowed must be"):
        compensated_attention(q, k, v, fine, replace(good, allowed=torch.ones(1, 1, 4, 5, dtype=torch.bool)))
    with pytest.raises(ShapeError, match="log_sizes must be"):
        compensated_attention(q, k, v, fine, Centroids(good.keys, good.values, good.log_sizes[..., :4]))
    with pytest.raises(ShapeError, match="a causal mask cuts blocks"):
        compensated_attention(q, k, v, replace(fine, causal=True), good)
    with pytest.raises(ShapeError, match="the mask is for 75 × 75 tokens"):
        compensated_attention(q[:, :, :70], k, v, fine, good)


def test_gradients_pass_through_the_reference():
    q, k, v = (x.requires_grad_() for x in make_qkv(40, 40))
    mask = random_mask(40, 40, BlockSize(16, 16), 0.5)
    compensated_attention(q, k, v, mask, centroids_of(k, v, mask)).output.square().sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.any() for x in (q, k, v))
