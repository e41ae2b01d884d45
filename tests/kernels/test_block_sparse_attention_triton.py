"""The Triton kernel of block-sparse attention, in the interpreter: fp32 and fp16 against fp64."""

from itertools import pairwise

import pytest
import torch

pytest.importorskip("triton")

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention.work import find_work
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Selection, TokenOrder, attend_selected
from videosieve.testing.factories import band_mask, make_call, make_qkv, random_mask
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention
from videosieve.testing.triton_interpreter import interpreted


@pytest.fixture(autouse=True)
def interpreter():
    with interpreted():
        yield


def attend(q, k, v, mask, **options):
    return block_sparse_attention(q, k, v, mask, backend="triton", **options)


def check(q, k, v, mask, scale=None, **options):
    actual = attend(q, k, v, mask, scale=scale, **options)
    assert actual[0].dtype == q.dtype
    assert actual[1].dtype == torch.float32
    keep = mask.to_dense() if isinstance(mask, RaggedBlockMask) else pairs_oracle(mask)
    assert_attention(actual, q, k, v, keep, q.shape[-1] ** -0.5 if scale is None else scale)
    return actual


@pytest.mark.parametrize(
    ("tokens", "block", "head_dim", "dtype"),
    [
        (75, BlockSize(16, 16), 32, torch.float32),
        (75, BlockSize(32, 16), 64, torch.float16),
        (63, BlockSize(64, 64), 128, torch.float32),
        (64, BlockSize(64, 64), 16, torch.float32),
        (200, BlockSize(64, 64), 64, torch.float16),
        (200, BlockSize(64, 64), 96, torch.float32),
        (200, BlockSize(128, 128), 128, torch.float16),
        (200, BlockSize(128, 64), 64, torch.float32),
        (200, BlockSize(64, 128), 80, torch.float32),
        (200, BlockSize(48, 96), 48, torch.float16),
        (256, BlockSize(128, 128), 64, torch.float32),
        (300, BlockSize(256, 256), 64, torch.float16),
    ],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_random_blocks_per_batch_and_head_match_fp64(tokens, block, head_dim, dtype):
    q, k, v = make_qkv(tokens, tokens, batch=2, heads=2, head_dim=head_dim, dtype=dtype)
    check(q, k, v, random_mask(tokens, tokens, block, 0.5, batch=2, heads=2))


@pytest.mark.parametrize("axes", [(1, 3), (2, 1), (1, 1)], ids=["per head", "per batch", "shared"])
def test_axes_of_size_one_are_shared(axes):
    q, k, v = make_qkv(75, 75, batch=2, heads=3)
    check(q, k, v, random_mask(75, 75, BlockSize(16, 16), 0.5, batch=axes[0], heads=axes[1]))


@pytest.mark.parametrize("text", ["text_first", "text_last", None])
def test_a_band_with_text_anywhere_matches_fp64(text):
    layout = VideoLayout.of(3, 5, 5, **({text: 11} if text else {}))
    q, k, v = make_qkv(layout.tokens, layout.tokens, head_dim=32)
    mask = band_mask(layout.tokens, BlockSize(16, 16), 16, sink=1)
    keep = mask.keep if text != "text_first" else mask.keep.flip(-1, -2)
    check(q, k, v, BlockMask(keep, mask.block, layout.tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("tokens", [75, 80])
def test_empty_and_full_rows(tokens, dtype):
    """Rows without blocks give zeros and −inf, next to rows that keep all or only the partial last block."""
    q, k, v = make_qkv(tokens, tokens, dtype=dtype)
    keep = torch.zeros(1, 2, 5, 5, dtype=torch.bool)
    keep[:, 0, 1] = keep[:, 1, 2, -1] = keep[:, 1, 4, 0] = True
    output, lse = check(q, k, v, BlockMask(keep, BlockSize(16, 16), tokens))
    assert not output[:, 0, :16].any()
    assert lse[:, 0, :16].isneginf().all()
    assert lse[:, 0, 16:32].isfinite().all()


def test_more_keys_than_queries_and_large_scores():
    q, k, v = make_qkv(40, 100, head_dim=64)
    check(q * 20, k, v, random_mask(40, 100, BlockSize(16, 32), 0.6, heads=2), scale=0.3)


def test_what_is_not_kept_is_not_read():
    q, k, v = make_qkv(75, 75)
    mask = random_mask(75, 75, BlockSize(16, 16), 0.5)
    mask.keep[..., 2] = False
    expected = attend(q, k, v, mask)
    k[:, :, 32:48] = v[:, :, 32:48] = torch.nan
    for actual, before in zip(attend(q, k, v, mask), expected, strict=True):
        assert torch.equal(actual, before)


def test_any_strides_are_read_right():
    wide = torch.randn(2, 60, 3, 80, generator=torch.Generator().manual_seed(0))
    q, k, v = (
        wide[:, at:, :, first : first + 32].transpose(1, 2)[:, :, :55]
        for at, first in ((0, 0), (3, 16), (5, 48))
    )
    assert not q.is_contiguous()
    check(q, k, v, random_mask(55, 55, BlockSize(16, 16), 0.5, heads=3))


@pytest.mark.parametrize("which", ["queries", "keys", "both"])
@pytest.mark.parametrize("per_head", [False, True], ids=["one order", "per head"])
def test_orders_are_followed_in_place(which, per_head):
    """The same values as permuting, attending and putting back, from tensors that are not moved."""
    tokens = 75
    q, k, v = make_qkv(tokens, tokens, batch=2, heads=2)
    shape = (1, 2, tokens) if per_head else (tokens,)
    order = torch.rand(shape, generator=torch.Generator().manual_seed(3)).argsort(-1)
    mask = random_mask(tokens, tokens, BlockSize(16, 32), 0.5, heads=2)
    options = {"query_order": order} if which != "keys" else {}
    options |= {"key_order": order} if which != "queries" else {}
    actual = attend(q, k, v, mask, **options)
    reference = block_sparse_attention(q, k, v, mask, backend="reference", **options)
    index = order.expand(2, 2, tokens)
    back = index.argsort(-1)
    pairs = pairs_oracle(mask).expand(2, 2, tokens, tokens)
    if "query_order" in options:
        pairs = pairs.gather(2, back.unsqueeze(-1).expand_as(pairs))
    if "key_order" in options:
        pairs = pairs.gather(3, back.unsqueeze(-2).expand_as(pairs))
    assert_attention(actual, q, k, v, pairs, 0.25)
    assert_attention(reference, q, k, v, pairs, 0.25)


def test_orders_of_queries_and_keys_have_lengths_of_their_own():
    q, k, v = make_qkv(40, 100, batch=2, heads=2)
    generator = torch.Generator().manual_seed(5)
    query_order = torch.rand(2, 2, 40, generator=generator).argsort(-1)
    key_order = torch.rand(2, 2, 100, generator=generator).argsort(-1)
    mask = random_mask(40, 100, BlockSize(16, 32), 0.5, batch=2, heads=2)
    actual = attend(q, k, v, mask, query_order=query_order, key_order=key_order)
    pairs = pairs_oracle(mask).gather(2, query_order.argsort(-1).unsqueeze(-1).expand(-1, -1, -1, 100))
    pairs = pairs.gather(3, key_order.argsort(-1).unsqueeze(-2).expand(-1, -1, 40, -1))
    assert_attention(actual, q, k, v, pairs, 0.25)


def ragged_mask(tokens, sizes, axes=(1, 2), density=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *sizes]).cumsum(0).expand(*axes, -1)
    keep = torch.rand(*axes, len(sizes), len(sizes), generator=generator) < density
    return RaggedBlockMask(keep, offsets, offsets, tokens)


@pytest.mark.parametrize("sizes", [[75], [1, 70, 4], [0, 33, 0, 0, 42, 0], [20, 1, 1, 30, 3, 20]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_ragged_blocks_match_fp64(sizes, dtype):
    q, k, v = make_qkv(75, 75, batch=2, dtype=dtype)
    check(q, k, v, ragged_mask(75, sizes, density=0.7))


def test_ragged_blocks_that_differ_between_heads_batches_and_axes():
    generator = torch.Generator().manual_seed(1)
    cuts = torch.randint(0, 201, (2, 3, 12), generator=generator).sort(-1).values
    key_offsets = torch.cat([torch.zeros(2, 3, 1).long(), cuts, torch.full((2, 3, 1), 200)], -1)
    query_offsets = torch.tensor([0, 64, 64, 130, 131, 200]).expand(1, 1, -1)
    keep = torch.rand(1, 3, 5, 13, generator=generator) < 0.4
    q, k, v = make_qkv(200, 200, batch=2, heads=3, head_dim=64)
    mask = RaggedBlockMask(keep, query_offsets, key_offsets, 200)
    order = torch.rand(2, 3, 200, generator=generator).argsort(-1)
    check(q, k, v, mask)
    actual = attend(q, k, v, mask, key_order=order)
    gathered = [x.gather(2, order.unsqueeze(-1).expand_as(x)) for x in (k, v)]
    assert_attention(actual, q, *gathered, mask.to_dense(), 64**-0.5)


@pytest.mark.parametrize("ragged", [False, True], ids=["uniform", "ragged"])
def test_heavy_tiles_start_first_and_every_tile_once(ragged):
    if ragged:
        mask = ragged_mask(75, [20, 1, 1, 30, 3, 20], axes=(2, 3))
    else:
        mask = random_mask(200, 200, BlockSize(16, 16), 0.4, batch=2, heads=3)
    work = find_work(mask, 2, 3, (16, 16))
    assert work.jobs.sort().values.tolist() == list(range(2 * 3 * work.tiles))
    counts = work.counts.flatten(0, 1)
    if work.tile_rows is not None:
        counts = counts.gather(-1, work.tile_rows.flatten(0, 1).long())
        counts = torch.where(work.tile_starts.flatten(0, 1) < 75, counts, 0)
    load = counts.flatten()[work.jobs.long()].tolist()
    step = max(load) / 32 + 1
    assert all(later <= earlier + step for earlier, later in pairwise(load))
    assert load[0] >= max(load) - step


@pytest.mark.parametrize("columns", [1, 13, 1024, 1300])
def test_listed_blocks_are_those_of_the_mask(columns):
    mask = random_mask(32, columns * 16, BlockSize(16, 16), 0.3, heads=2)
    work, expected = find_work(mask, 1, 2, (16, 16)), mask.compact
    assert torch.equal(work.counts, expected.counts)
    most = expected.indices.shape[-1]
    real = torch.arange(most) < expected.counts.unsqueeze(-1)
    assert torch.equal(work.indices[..., :most][real], expected.indices[real])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_dim": 40}, "head_dim must be one of 16, 32, 48, 64, 80, 96, 128, got 40"),
        ({"dtype": torch.float64}, "it needs bfloat16, float16, float32, got float64"),
        ({"side": 24}, "block sides must be multiples of 16, got 24 queries and 24 keys"),
        ({"scale": 0.0}, "scale must be above 0, got 0.0"),
        ({"flip": True}, "the head_dim values of a token must lie next to one another, got strides"),
    ],
    ids=str,
)
def test_what_it_cannot_run_is_refused_with_law_and_values(change, message):
    q, k, v = make_qkv(75, 75, head_dim=change.get("head_dim", 16), dtype=change.get("dtype", torch.float32))
    if "flip" in change:
        q = q.mT.contiguous().mT
    mask = random_mask(75, 75, BlockSize(change.get("side", 16), change.get("side", 16)), 0.5)
    with pytest.raises(BackendError, match=f"triton cannot run this block_sparse_attention: {message}"):
        attend(q, k, v, mask, scale=change.get("scale"))


def test_a_method_hands_its_token_orders_to_the_kernel(monkeypatch):
    """Sparse VideoGen's spatial and temporal heads in one launch, no reordering pass."""
    call = make_call(VideoLayout.of(3, 5, 5, text_last=9), heads=4, head_dim=32)
    heads = torch.tensor([[True, False, True, False]])
    order = TokenOrder(call.layout.token_major_order(), heads)
    selection = Selection(band_mask(84, BlockSize(16, 16), 16, sink=1), order, order)
    expected = attend_selected(call, selection, "reference")
    monkeypatch.setattr(TokenOrder, "apply", None)
    actual = attend_selected(call, selection, "triton")
    assert actual.kernel == "triton"
    torch.testing.assert_close(actual.output, expected.output)
    torch.testing.assert_close(actual.lse, expected.lse)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (torch.zeros(75).long(), "query_order must be a permutation of 0 … 74"),
        (
            torch.arange(75).int(),
            r"query_order must be int64 \[75\] or \[1 or 1, 1 or 2, 75\], got torch.int32",
        ),
        (torch.arange(74), r"got torch.int64 \[74\]"),
        (torch.arange(75).expand(1, 3, 75), r"got torch.int64 \[1, 3, 75\]"),
    ],
    ids=["repeated", "int32", "short", "heads"],
)
def test_an_order_that_is_none_is_refused(order, message):
    q, k, v = make_qkv(75, 75)
    with pytest.raises(ShapeError, match=message):
        attend(q, k, v, random_mask(75, 75, BlockSize(16, 16), 0.5), query_order=order)


def test_the_oracle_sees_a_kernel_that_drops_the_last_key():
    q, k, v = make_qkv(75, 75)
    mask = BlockMask.dense(75, BlockSize(16, 16))
    keep = pairs_oracle(mask)
    keep[..., -1] = False
    with pytest.raises(AssertionError, match="is off by"):
        assert_attention(attention_oracle(q, k, v, keep, 0.25), q, k, v, pairs_oracle(mask), 0.25)
