"""Products of pairs of bf16 by the native CPU kernel, where the processor has them: what the tests of all sets leave open."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.dense_attention import native as dense
from videosieve.kernels.native_library import load, refuse_library
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

SETS = load().instruction_sets
WITH_PAIRS = [name for name in SETS if name.endswith("bf16")]
needs_pairs = pytest.mark.skipif(not WITH_PAIRS, reason="the processor or the build has no products of bf16")


def attend(q, k, v, mask, instruction_set=None, orders=(None, None)):
    scale = q.shape[-1] ** -0.5
    return native.block_sparse_attention(q, k, v, mask, scale, *orders, instruction_set=instruction_set)


def test_the_set_is_chosen_where_the_processor_has_it():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("there is no /proc/cpuinfo")
    flags = cpuinfo.read_text().partition("\nflags")[2].partition("\n")[0].split()
    if "avx512" in SETS and "avx512_bf16" in flags:
        assert SETS[0] == "avx512_bf16"
    else:
        assert not WITH_PAIRS


@needs_pairs
def test_other_elements_keep_the_bits_of_the_set_without_pairs():
    for dtype in (torch.float32, torch.float16):
        q, k, v = make_qkv(300, 333, heads=2, head_dim=33, dtype=dtype)
        mask = random_mask(300, 333, BlockSize(48, 16), 0.5, heads=2)
        for one, other in zip(
            attend(q, k, v, mask, "avx512_bf16"), attend(q, k, v, mask, "avx512"), strict=True
        ):
            assert torch.equal(one, other)


@needs_pairs
@pytest.mark.parametrize("head_dim", [64, 65, 128])
@pytest.mark.parametrize("side", [32, 33], ids=["even", "odd"])
@pytest.mark.parametrize("ordered", [False, True])
def test_pairs_made_once_give_the_bits_of_pairs_made_by_every_task(head_dim, side, ordered):
    """700 queries read a key often enough for pairs of all keys; 32 of them alone do not. 515 keys: an odd end."""
    q, k, v = make_qkv(700, 515, heads=2, head_dim=head_dim, dtype=torch.bfloat16)
    mask = random_mask(700, 515, BlockSize(32, side), 0.6, heads=2)
    order = torch.randperm(515, generator=torch.Generator().manual_seed(0)) if ordered else None
    output, lse = attend(q, k, v, mask, orders=(None, order))
    for row in range(0, 22, 7):
        queries = slice(row * 32, min(row * 32 + 32, 700))
        part = BlockMask(
            mask.keep[:, :, row : row + 1], BlockSize(32, side), queries.stop - queries.start, 515
        )
        alone = attend(q[:, :, queries], k, v, part, orders=(None, order))
        assert torch.equal(alone[0], output[:, :, queries])
        assert torch.equal(alone[1], lse[:, :, queries])


@needs_pairs
@pytest.mark.parametrize("ordered", [False, True])
def test_keys_that_are_not_kept_are_not_read_from_pairs_either(ordered):
    """Every odd column is dropped and poisoned: blocks of 7 keys, so that kept and dropped values are neighbours."""
    q, k, v = make_qkv(600, 203, heads=2, head_dim=32, dtype=torch.bfloat16)
    keep = torch.ones(1, 1, 5, 29, dtype=torch.bool)
    keep[..., 1::2] = False
    mask = BlockMask(keep, BlockSize(128, 7), 600, 203)
    order = torch.randperm(203, generator=torch.Generator().manual_seed(0)) if ordered else None
    expected = attend(q, k, v, mask, orders=(None, order))
    dropped = (torch.arange(203) // 7) % 2 == 1
    poisoned = [x.clone() for x in (k, v)]
    for x in poisoned:
        x[:, :, dropped if order is None else order[dropped]] = torch.nan
    for one, other in zip(attend(q, *poisoned, mask, orders=(None, order)), expected, strict=True):
        assert torch.equal(one, other)


@needs_pairs
@pytest.mark.parametrize("head_dim", [64, 128])
def test_the_error_is_within_twice_that_of_torch(head_dim):
    """Both round weights to bf16 and sum in fp32; the output's own rounding is the larger part of either error."""
    q, k, v = make_qkv(520, 1030, heads=2, head_dim=head_dim, dtype=torch.bfloat16)
    exact, _ = attention_oracle(q, k, v, torch.ones(1, 1, 520, 1030, dtype=torch.bool), head_dim**-0.5)
    errors = [
        (output.double() - exact).abs()
        for output in (
            dense.dense_attention(q, k, v, head_dim**-0.5, False),
            scaled_dot_product_attention(q, k, v),
        )
    ]
    assert errors[0].max() <= 2 * errors[1].max()
    assert errors[0].mean() <= 2 * errors[1].mean()


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_logits_of_ten_thousand_are_weighed_without_nan(instruction_set, sign):
    q, k, v = make_qkv(300, 400, heads=2, head_dim=64, dtype=torch.bfloat16)
    q = q * (1e4 / (q.double() @ k.double().mT * 0.125).abs().amax()).to(q.dtype) * 8
    scores = q.double() @ k.double().mT * 0.125
    assert scores.abs().amax() > 5e4
    for mask in (
        BlockMask.dense(300, BlockSize(64, 64), keys=400),
        random_ragged_mask(300, 400, (5, 40), 0.5, heads=2),
    ):
        actual = native.block_sparse_attention(q, k, v, mask, sign * 0.125, instruction_set=instruction_set)
        assert actual[0].isfinite().all()
        assert_attention(actual, q, k, v, pairs_oracle(mask), sign * 0.125)


@needs_pairs
def test_heads_that_share_keys_share_their_pairs():
    q, k, v = make_qkv(400, 300, heads=6, head_dim=64, dtype=torch.bfloat16)
    k, v = k[:, ::3].contiguous(), v[:, ::3].contiguous()
    mask = random_mask(400, 300, BlockSize(32, 32), 0.7, heads=6)
    repeated = (x.repeat_interleave(3, 1) for x in (k, v))
    for one, other in zip(attend(q, k, v, mask), attend(q, *repeated, mask), strict=True):
        assert torch.equal(one, other)
