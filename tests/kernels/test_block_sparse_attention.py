import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS, cpu
from videosieve.kernels.native_library import refuse_library
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import band_mask, make_qkv, random_mask, random_ragged_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.testing.tolerances import assert_attention

ON_CPU = {"cpu", "reference"} | ({"native"} if refuse_library() is None else set())
BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name in ON_CPU]
RAGGED = [name for name in BACKENDS if name != "cpu"]
BLOCKS = [
    BlockSize(16, 16),
    BlockSize(32, 32),
    BlockSize(64, 64),
    BlockSize(128, 128),
    BlockSize(32, 64),
    BlockSize(64, 16),
]


def check(backend, q, k, v, mask, scale=None):
    actual = block_sparse_attention(q, k, v, mask, scale=scale, backend=backend)
    assert actual[0].dtype == q.dtype
    assert actual[1].dtype == (torch.float64 if q.dtype == torch.float64 else torch.float32)
    assert_attention(actual, q, k, v, pairs_oracle(mask), q.shape[-1] ** -0.5 if scale is None else scale)
    return actual


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.query}x{block.key}")
@pytest.mark.parametrize("tokens", [75, 63, 200])
def test_random_blocks_per_batch_and_head_match_fp64(backend, block, tokens):
    q, k, v = make_qkv(tokens, tokens, batch=2, heads=3, head_dim=32)
    check(backend, q, k, v, random_mask(tokens, tokens, block, 0.4, batch=2, heads=3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.query}x{block.key}")
@pytest.mark.parametrize("tokens", [75, 63, 200])
def test_a_shared_band_with_a_sink_matches_fp64(backend, block, tokens):
    q, k, v = make_qkv(tokens, tokens, batch=2, heads=2, head_dim=16)
    check(backend, q, k, v, band_mask(tokens, block, 40, sink=1))


@pytest.mark.parametrize("backend", RAGGED)
@pytest.mark.parametrize("blocks", [(1, 1), (5, 7), (20, 9)], ids=lambda blocks: f"{blocks[0]}x{blocks[1]}")
@pytest.mark.parametrize("tokens", [75, 200])
def test_ragged_blocks_match_fp64(backend, blocks, tokens):
    q, k, v = make_qkv(tokens, tokens + 1, batch=2, heads=3, head_dim=32)
    check(backend, q, k, v, random_ragged_mask(tokens, tokens + 1, blocks, 0.4, batch=2, heads=3))


def test_the_cpu_path_refuses_ragged_blocks():
    q, k, v = make_qkv(75, 75)
    with pytest.raises(BackendError, match="blocks of one size"):
        block_sparse_attention(q, k, v, random_ragged_mask(75, 75, (3, 4), 0.5), backend="cpu")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", [(1, 3), (2, 1)], ids=["per head", "per batch"])
def test_axes_of_size_one_are_shared(backend, axes):
    q, k, v = make_qkv(75, 75, batch=2, heads=3)
    check(backend, q, k, v, random_mask(75, 75, BlockSize(16, 16), 0.5, batch=axes[0], heads=axes[1]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_other_precisions_are_as_exact_as_they_can_be(backend, dtype, contiguous):
    if (backend, dtype) == ("native", torch.float64):
        pytest.skip("the native kernel computes in fp32 and refuses fp64")
    q, k, v = make_qkv(200, 200, heads=3, head_dim=64, dtype=dtype, contiguous=contiguous)
    check(backend, q, k, v, band_mask(200, BlockSize(32, 32), 64, sink=1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("queries", "keys"), [(75, 200), (200, 63), (16, 17)])
def test_queries_and_keys_may_differ_in_number(backend, queries, keys):
    q, k, v = make_qkv(queries, keys)
    check(backend, q, k, v, random_mask(queries, keys, BlockSize(16, 32), 0.6))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_mask_is_dense_attention(backend):
    q, k, v = make_qkv(75, 75)
    output, _ = check(backend, q, k, v, BlockMask.dense(75, BlockSize(16, 16)))
    torch.testing.assert_close(output, scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_without_blocks_give_zero_and_minus_infinity(backend):
    q, k, v = make_qkv(75, 75)
    keep = torch.zeros(1, 2, 5, 5, dtype=torch.bool)
    keep[0, 0, 1, 2:4] = True
    output, lse = check(backend, q, k, v, BlockMask(keep, BlockSize(16, 16), 75))
    assert not output[:, 1].any()
    assert lse[:, 1].isneginf().all()
    assert lse[0, 0].isfinite().nonzero().flatten().tolist() == list(range(16, 32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mask_that_keeps_nothing_gives_zeros(backend):
    q, k, v = make_qkv(75, 75)
    check(backend, q, k, v, BlockMask(torch.zeros(1, 1, 5, 5, dtype=torch.bool), BlockSize(16, 16), 75))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_partial_block_is_enough(backend):
    q, k, v = make_qkv(7, 5)
    check(backend, q, k, v, BlockMask.dense(7, BlockSize(128, 128), keys=5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_far_from_zero_stay_finite(backend):
    q, k, v = make_qkv(75, 75, dtype=torch.float64)
    mask = band_mask(75, BlockSize(16, 16), 20, sink=1)
    check(backend, (q * 12).float(), (k * 12).float(), v.float(), mask)
    if backend != "native":
        check(backend, q * 40, k * 40, v, mask)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scale_replaces_the_default(backend):
    q, k, v = make_qkv(63, 63)
    check(backend, q, k, v, band_mask(63, BlockSize(16, 16), 16), scale=0.7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_batch_element_stands_alone(backend):
    q, k, v = make_qkv(75, 75, batch=2, heads=2)
    mask = random_mask(75, 75, BlockSize(16, 16), 0.5, batch=2, heads=2)
    together = block_sparse_attention(q, k, v, mask, backend=backend)
    for b in range(2):
        alone = BlockMask(mask.keep[b : b + 1], mask.block, 75)
        for whole, part in zip(
            together, block_sparse_attention(q[b:][:1], k[b:][:1], v[b:][:1], alone), strict=True
        ):
            torch.testing.assert_close(whole[b : b + 1], part)


@pytest.mark.parametrize("side", [16, 64, 128])
def test_wide_bands_are_split_into_groups_and_merged(side):
    """Long enough that groups of 1,024, 256 and 64 queries take their common keys first."""
    q, k, v = make_qkv(2600, 2600, heads=1, head_dim=8)
    mask = band_mask(2600, BlockSize(side, side), 1100, sink=1)
    actual = block_sparse_attention(q, k, v, mask, backend="cpu")
    merges = [part.merge for plan in mask.plans.values() for step in plan.steps for part in step.parts]
    assert any(merges)
    assert not all(merges)
    assert_attention(actual, q, k, v, mask.to_dense(), 8**-0.5)


@settings(max_examples=40)
@given(
    queries=st.integers(1, 300),
    keys=st.integers(1, 300),
    query_side=st.sampled_from([1, 8, 16, 48, 64, 128]),
    key_side=st.sampled_from([1, 8, 16, 48, 64, 128]),
    density=st.sampled_from([0.05, 0.3, 0.9, 1.0]),
    stripes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_mask_of_any_size_matches_fp64(queries, keys, query_side, key_side, density, stripes, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = make_qkv(queries, keys, heads=2, head_dim=8, generator=generator)
    mask = random_mask(queries, keys, BlockSize(query_side, key_side), density, heads=2, generator=generator)
    if stripes:  # rows that share keys, so that groups form
        mask = BlockMask(mask.keep | mask.keep[:, :, :1], mask.block, queries, keys)
    actual = block_sparse_attention(q, k, v, mask, backend="cpu")
    assert_attention(actual, q, k, v, mask.to_dense(), 8**-0.5)


def test_a_plan_is_made_once_per_mask():
    q, k, v = make_qkv(200, 200)
    mask = band_mask(200, BlockSize(16, 16), 40)
    block_sparse_attention(q, k, v, mask, backend="cpu")
    plans = dict(mask.plans)
    block_sparse_attention(k, q, v, mask, backend="cpu")
    assert len(plans) == 1
    assert all(mask.plans[name] is plan for name, plan in plans.items())


def test_gathered_keys_stay_within_the_step_budget(monkeypatch):
    monkeypatch.setattr(cpu, "STEP_BYTES", 1 << 14)
    q, k, v = make_qkv(600, 600, heads=3)
    mask = random_mask(600, 600, BlockSize(16, 16), 0.2, heads=3)
    actual = block_sparse_attention(q, k, v, mask, backend="cpu")
    [plan] = mask.plans.values()
    budget = torch.get_num_threads() * (1 << 14) // (2 * 16 * 4)
    assert all(len(step.key_index) * 16 <= budget or step.parts[0].jobs == 1 for step in plan.steps)
    assert len(plan.steps) > 10
    assert_attention(actual, q, k, v, mask.to_dense(), 16**-0.5)


def test_gradients_fall_to_an_implementation_that_has_them():
    q, k, v = (x.requires_grad_() for x in make_qkv(63, 63, dtype=torch.float64))
    mask = band_mask(63, BlockSize(16, 16), 16)
    block_sparse_attention(q, k, v, mask)[0].sum().backward()
    assert q.grad is not None
    with pytest.raises(BackendError, match="no backward; detach q, k and v"):
        block_sparse_attention(q, k, v, mask, backend="cpu")
    with torch.no_grad():
        block_sparse_attention(q, k, v, mask, backend="cpu")


def test_tensors_elsewhere_are_refused_with_the_reason():
    q, k, v = (x.to("meta") for x in make_qkv(63, 63))
    with pytest.raises(
        BackendError, match=r"cpu cannot run this .* needs CPU tensors, got meta. .* can: reference"
    ):
        block_sparse_attention(q, k, v, band_mask(63, BlockSize(16, 16), 16), backend="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v, mask: (q, k, v[:, :, 1:], mask), r"k and v must be \[1, 2, keys, 16\]"),
        (lambda q, k, v, mask: (q[:, :1], k, v, mask), r"k and v must be \[1, 1, keys, 16\]"),
        (
            lambda q, k, v, mask: (q[:, :, 1:], k, v, mask),
            "the mask is for 63 × 63 tokens, q and k have 62 × 63",
        ),
        (lambda q, k, v, mask: (q, k[:, :, 1:], v[:, :, 1:], mask), "63 × 63 tokens, q and k have 63 × 62"),
        (
            lambda q, k, v, mask: (q, k, v, BlockMask(mask.keep.repeat(1, 3, 1, 1), mask.block, 63)),
            r"mask.keep must start with \[1 or 1, 1 or 2\], got \[1, 3, 4, 4\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, message):
    arguments = change(*make_qkv(63, 63), band_mask(63, BlockSize(16, 16), 16))
    with pytest.raises(ShapeError, match=message):
        block_sparse_attention(*arguments)
