"""Causal masks, keys longer than queries, and key heads that several query heads share, against fp64."""

import pytest
import torch

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import antidiagonal_scores, block_sparse_attention
from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.dense_attention import dense_attention
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.tolerances import assert_attention
from videosieve.testing.triton_interpreter import interpreted

SIZES = [
    (75, 75, 16, 16),
    (75, 130, 16, 16),
    (200, 300, 64, 64),
    (130, 517, 32, 16),
    (1, 5, 16, 16),
    (257, 1000, 64, 128),
]
sizes = pytest.mark.parametrize(("queries", "keys", "rows", "columns"), SIZES)


def draw(queries, keys, dtype=torch.float32, heads=6, key_heads=2, head_dim=32):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, heads, queries, head_dim, generator=generator).to(dtype)
    k, v = (torch.randn(2, key_heads, keys, head_dim, generator=generator).to(dtype) for _ in range(2))
    return q, k, v


def random_causal(queries, keys, rows, columns, heads=6, share=0.4):
    generator = torch.Generator().manual_seed(1)
    keep = torch.rand(2, heads, -(-queries // rows), -(-keys // columns), generator=generator) < share
    return BlockMask(keep, BlockSize(rows, columns), queries, keys, causal=True)


def seen(mask):
    """Kept pairs that are not ahead, a block at a time."""
    pairs = torch.zeros(*mask.keep.shape[:2], mask.queries, mask.keys, dtype=torch.bool)
    for b, h, r, c in mask.keep.nonzero().tolist():
        pairs[b, h, r * mask.block.query :][:, :][: mask.block.query, c * mask.block.key :][
            :, : mask.block.key
        ] = True
    own = torch.arange(mask.queries).unsqueeze(-1) + mask.keys - mask.queries
    return pairs & (torch.arange(mask.keys) <= own)


def check(actual, q, k, v, keep):
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    assert_attention(actual, q, k, v, keep, q.shape[-1] ** -0.5)


@sizes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", ["native", "cpu", "reference"])
def test_kept_keys_up_to_the_query_match_fp64(backend, dtype, queries, keys, rows, columns):
    q, k, v = draw(queries, keys, dtype)
    mask = random_causal(queries, keys, rows, columns)
    if backend == "native" and (reason := native.refuse(q, k, v, mask, 1.0)) is not None:
        pytest.skip(reason)
    check(block_sparse_attention(q, k, v, mask, backend=backend), q, k, v, seen(mask))


@pytest.mark.parametrize(
    ("queries", "keys", "rows", "columns"),
    [
        (75, 75, 16, 16),
        (1, 5, 16, 16),
        (40, 75, 32, 16),
        *(pytest.param(*size, marks=pytest.mark.slow) for size in SIZES[2:]),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "head_dim"), [(torch.float32, 32), (torch.float16, 48)], ids=["float32", "float16"]
)
def test_the_triton_kernel_matches_fp64(dtype, head_dim, queries, keys, rows, columns):
    pytest.importorskip("triton")
    q, k, v = draw(queries, keys, dtype, heads=4, head_dim=head_dim)
    mask = random_causal(queries, keys, rows, columns, heads=4)
    with interpreted():
        actual = block_sparse_attention(q, k, v, mask, backend="triton")
    check(actual, q, k, v, seen(mask))


@pytest.mark.parametrize("backend", ["native", "cpu", "reference", "triton"])
@pytest.mark.parametrize("whole", [False, True])
def test_shared_key_heads_without_causality_match_fp64(backend, whole):
    q, k, v = draw(75, 130)
    keep = torch.rand(2, 6, 5, 9, generator=torch.Generator().manual_seed(2)) < (1.0 if whole else 0.5)
    mask = BlockMask(keep, BlockSize(16, 16), 75, 130)
    if backend == "native" and (reason := native.refuse(q, k, v, mask, 1.0)) is not None:
        pytest.skip(reason)
    if backend == "triton":
        pytest.importorskip("triton")
        with interpreted():
            actual = block_sparse_attention(q, k, v, mask, backend=backend)
    else:
        actual = block_sparse_attention(q, k, v, mask, backend=backend)
    check(actual, q, k, v, mask.to_dense())


def test_ragged_masks_share_key_heads_too():
    q, k, v = draw(40, 50)
    offsets = torch.tensor([[[0, 7, 40]]]), torch.tensor([[[0, 20, 21, 50]]])
    keep = torch.tensor([[True, False, True], [False, True, True]])[None, None]
    mask = RaggedBlockMask(keep, *offsets, 40, 50)
    for backend in (None, "reference"):
        check(block_sparse_attention(q, k, v, mask, backend=backend), q, k, v, mask.to_dense())


@sizes
@pytest.mark.parametrize("backend", [None, "native", "sdpa", "reference", "block-sparse"])
def test_dense_attention_gives_the_last_key_to_the_last_query(backend, queries, keys, rows, columns):
    q, k, v = draw(queries, keys)
    if backend == "native" and (reason := native.refuse(q, k, v, random_causal(4, 4, 4, 4), 1.0)) is not None:
        pytest.skip(reason)
    output = dense_attention(q, k, v, causal=True, backend=backend)
    mask = BlockMask.dense(queries, BlockSize(rows, columns), keys, causal=True)
    lse = block_sparse_attention(q, k, v, mask, backend="reference")[1]
    check((output, lse), q, k, v, mask.to_dense())


@sizes
def test_density_is_a_share_of_the_causal_half(queries, keys, rows, columns):
    mask = random_causal(queries, keys, rows, columns)
    half = queries * (keys - queries) + queries * (queries + 1) / 2
    assert int(mask.pairs.sum()) == half
    torch.testing.assert_close(mask.head_density, seen(mask).sum((-1, -2)).double() / half)
    whole = BlockMask.dense(queries, BlockSize(rows, columns), keys, causal=True)
    assert whole.density == 1
    own = torch.arange(queries) + keys - queries
    for query, key in enumerate(own.tolist()):
        assert mask.diagonal[query // rows, key // columns]
    assert int(mask.diagonal.sum()) <= (queries // rows + 1) * (rows // columns + 2)


def test_what_cannot_be_is_refused():
    q, k, v = draw(20, 20)
    with pytest.raises(ShapeError, match="at least as many keys as queries"):
        BlockMask.dense(20, BlockSize(4, 4), 10, causal=True)
    with pytest.raises(ShapeError, match="at least as many keys as queries"):
        dense_attention(q, k[:, :, :10], v[:, :, :10], causal=True)
    mask = BlockMask.dense(20, BlockSize(4, 4), causal=True)
    with pytest.raises(ShapeError, match="tokens in their own order"):
        block_sparse_attention(q, k, v, mask, key_order=torch.arange(20))
    with pytest.raises(ShapeError, match="fewer heads of keys must divide those of q"):
        block_sparse_attention(q[:, :5], k, v, mask)
    with pytest.raises(BackendError, match="flex"):
        block_sparse_attention(q, k, v, mask, backend="flex")


@pytest.mark.parametrize("backend", ["native", "cpu", "triton"])
def test_antidiagonal_scores_share_key_heads(backend):
    q, k, _ = draw(75, 130)
    expected = antidiagonal_scores(q.double(), k.double().repeat_interleave(3, 1), 8, backend="reference")
    if backend == "triton":
        pytest.importorskip("triton")
        with interpreted():
            actual = antidiagonal_scores(q, k, 8, backend=backend)
    else:
        try:
            actual = antidiagonal_scores(q, k, 8, backend=backend)
        except BackendError as error:
            pytest.skip(str(error))
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        antidiagonal_scores(q, k, 8, backend="reference").double(), expected, rtol=1e-5, atol=1e-5
    )


def test_inside_compile_a_causal_mask_stays_causal():
    q, k, v = draw(75, 130)
    mask = random_causal(75, 130, 16, 16)
    compiled = torch.compile(
        lambda q, k, v: block_sparse_attention(q, k, v, mask), backend="eager", fullgraph=True
    )
    check(compiled(q, k, v), q, k, v, seen(mask))
