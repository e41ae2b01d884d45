"""Pooling of blocks and the mass of centroids against loops in fp64."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.kernels import centroid_mass, centroids_of, pool_blocks
from videosieve.kernels.centroid_mass import native as native_mass
from videosieve.kernels.centroids import answered_density, key_offsets, of_queries, query_offsets
from videosieve.kernels.native_library import load, refuse_library
from videosieve.kernels.pool_blocks import native as native_pool
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.compensation import answers_oracle, pool_oracle
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.testing.tolerances import assert_within

NATIVE = refuse_library() is None
BACKENDS = ["reference", *(["native"] if NATIVE else [])]
backends = pytest.mark.parametrize("backend", BACKENDS)
SETS = load().instruction_sets if NATIVE else ()
ordered = pytest.mark.parametrize("ordered", [False, True], ids=["in order", "reordered"])


def order_of(batch, heads, tokens, wanted):
    generator = torch.Generator().manual_seed(5)
    return torch.rand(batch, heads, tokens, generator=generator).argsort(-1) if wanted else None


def masks(tokens):
    return (
        random_mask(tokens, tokens, BlockSize(48, 16), 0.4, batch=2, heads=3),
        random_ragged_mask(tokens, tokens, (5, 20), 0.4, batch=2, heads=3),
    )


def check_pool(run, x, offsets, order):
    means, spreads = run(x, offsets, order)
    exact = pool_oracle(x, offsets, order)
    rough = pool_blocks(x.float(), offsets, order=order, backend="reference")
    assert means.dtype == x.dtype
    assert_within(means, rough.means.to(x.dtype), exact[0], "means", float(x.abs().max()))
    # Squares of values that are rounded when the mean is taken from them.
    assert_within(spreads, rough.spreads, exact[1], "spreads", float(x.double().square().sum(-1).max()))


@backends
@ordered
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("head_dim", [7, 64])
def test_every_block_is_pooled_as_loops_do(backend, ordered, dtype, head_dim):
    _, k, _ = make_qkv(75, 75, batch=2, heads=3, head_dim=head_dim, dtype=dtype)
    for mask in masks(75):
        run = lambda x, offsets, order: pool_blocks(x, offsets, order=order, backend=backend)  # noqa: E731
        check_pool(run, k, key_offsets(mask), order_of(2, 3, 75, ordered))


@pytest.mark.parametrize("instruction_set", SETS)
def test_every_instruction_set_pools(instruction_set):
    _, k, _ = make_qkv(1, 333, heads=3, batch=2, head_dim=37)
    run = lambda x, offsets, order: native_pool.pool_blocks(x, offsets, order, instruction_set)  # noqa: E731
    check_pool(run, k, key_offsets(masks(333)[1]), order_of(2, 3, 333, True))


@backends
def test_spreads_far_from_zero_do_not_cancel(backend):
    """A difference of squares would lose all digits of a spread of 1 around a mean of 4,096."""
    _, k, _ = make_qkv(1, 64, heads=1)
    k = (k + 4096).contiguous()
    spreads = pool_blocks(k, torch.tensor([[[0, 64]]]), backend=backend).spreads
    exact = pool_oracle(k, torch.tensor([[[0, 64]]]))[1]
    torch.testing.assert_close(spreads.double(), exact, rtol=1e-3, atol=0)


@backends
def test_an_empty_block_has_no_mean_and_no_spread(backend):
    _, k, _ = make_qkv(1, 20)
    pooled = pool_blocks(k, torch.tensor([[[0, 12, 12, 20]]]), backend=backend)
    assert not pooled.means[:, :, 1].any()
    assert not pooled.spreads[:, :, 1].any()
    torch.testing.assert_close(pooled.means[:, :, 2], k[:, :, 12:].mean(2))


def mass_loops(q, keys, sizes, offsets, scale, order, dtype=torch.float64):
    batch, heads, queries, _ = q.shape
    offsets, sizes = offsets.expand(batch, heads, -1), sizes.expand(batch, heads, -1)
    mass = torch.zeros(batch, heads, offsets.shape[-1] - 1, keys.shape[2], dtype=dtype)
    for b in range(batch):
        for h in range(heads):
            places = torch.arange(queries) if order is None else order[b, h]
            scores = q[b, h, places].to(dtype) @ keys[b, h].to(dtype).mT * scale + sizes[b, h].to(dtype)
            for row, (start, stop) in enumerate(offsets[b, h].unfold(0, 2, 1).tolist()):
                if start < stop:
                    mass[b, h, row] = scores[start:stop].softmax(-1).mean(0)
    return mass


def check_mass(run, q, k, mask, order, scale=0.3):
    centroids = centroids_of(k, k, mask)
    offsets = query_offsets(mask)
    arguments = (q, centroids.keys, centroids.log_sizes, offsets)
    actual = run(*arguments, scale, order)
    exact, rough = (mass_loops(*arguments, scale, order, dtype) for dtype in (torch.float64, torch.float32))
    assert actual.shape == exact.shape
    assert_within(actual, rough, exact, "mass")


@backends
@ordered
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_mass_of_every_centroid_is_that_of_loops(backend, ordered, dtype):
    q, k, _ = make_qkv(75, 75, batch=2, heads=3, head_dim=32, dtype=dtype)

    def run(q, keys, sizes, offsets, scale, order):
        return centroid_mass(q, keys, sizes, offsets, scale=scale, order=order, backend=backend)

    for mask in masks(75):
        check_mass(run, q, k, mask, order_of(2, 3, 75, ordered))
        check_mass(run, q * 20, k, mask, None)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("head_dim", [7, 64, 96])
def test_every_instruction_set_weighs_centroids(instruction_set, head_dim):
    q, k, _ = make_qkv(333, 333, batch=2, heads=3, head_dim=head_dim)

    def run(*arguments):
        return native_mass.centroid_mass(*arguments, instruction_set)

    check_mass(run, q, k, random_mask(333, 333, BlockSize(144, 2), 0.5), order_of(2, 3, 333, True))


@backends
def test_rows_add_up_to_one_or_have_no_queries(backend):
    q, k, _ = make_qkv(40, 75)
    centroids = centroids_of(k, k, random_mask(40, 75, BlockSize(16, 16), 0.5))
    offsets = torch.tensor([[[0, 17, 17, 40]]])
    mass = centroid_mass(q, centroids.keys, centroids.log_sizes, offsets, backend=backend)
    torch.testing.assert_close(mass.sum(-1), torch.tensor([1.0, 0.0, 1.0]).expand(1, 2, 3))


def test_density_counts_a_centroid_as_one_key():
    for mask in masks(75):
        answers = ~mask.keep
        real = (mask.key_sizes > 0).expand(2, 3, -1).unsqueeze(-2)
        counted = (answers_oracle(mask, answers).expand(2, 3, -1, -1) & real).sum((-1, -2)) / 75**2
        torch.testing.assert_close(
            answered_density(mask, answers).expand(2, 3), counted.double(), check_dtype=False
        )
        assert pairs_oracle(mask).shape[-2:] == (75, 75)


def test_rows_of_a_block_table_are_found_by_query():
    for mask in masks(75):
        rows = torch.tensor([0, 5, 33, 74])
        table = mask.keep.expand(2, 3, -1, -1)
        assert torch.equal(of_queries(mask.keep, mask, rows), answers_oracle(mask, table)[:, :, rows])


def test_what_does_not_fit_is_refused():
    q, k, _ = make_qkv(20, 20)
    with pytest.raises(ShapeError, match="offsets must be int64"):
        pool_blocks(k, torch.tensor([0, 20]))
    with pytest.raises(ShapeError, match=r"order must be int64 \[20\]"):
        pool_blocks(k, torch.tensor([[[0, 20]]]), order=torch.arange(19))
    with pytest.raises(ShapeError, match="x must be"):
        pool_blocks(k[0], torch.tensor([[[0, 20]]]))
    good = (torch.zeros(1, 1, 20), torch.tensor([[[0, 20]]]))
    with pytest.raises(ShapeError, match="one value for each of 20 keys"):
        centroid_mass(q, k, good[0][..., :5], good[1])
    with pytest.raises(ShapeError, match="differ in tokens only"):
        centroid_mass(q[..., :4], k, *good)
    with pytest.raises(ShapeError, match="two entries at least"):
        centroid_mass(q, k, good[0], good[1][..., :1])
