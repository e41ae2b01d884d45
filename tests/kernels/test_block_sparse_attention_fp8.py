"""FP8 attention: its meaning in plain PyTorch, and the Triton kernel of it in the interpreter."""

import pytest
import torch

from videosieve.errors import BackendError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS, checks
from videosieve.kernels.block_sparse_attention.fp8 import reference as fp8
from videosieve.masks.block_mask import BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_mask
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention

HALF_STEP = 2.0**-4  # e4m3 has three bits after the point: a normal value is off by at most 1/16 of itself


def relative_error(actual, exact):
    return float((actual.double() - exact).abs().sum() / exact.abs().sum())


def test_every_value_is_rounded_to_the_nearest_of_its_block():
    x = make_qkv(75, 1)[0] * torch.logspace(-3, 3, 75).view(-1, 1)
    x[:, 1, 16:32] = 0
    rounded = fp8.quantise(x, 16)
    assert rounded.values.dtype == torch.float8_e4m3fn
    assert rounded.scales.shape == (1, 2, 5)
    least_normal = rounded.scales.repeat_interleave(16, -1)[..., :75, None] * 2.0**-6
    error = (rounded.restore(16) - x).abs()
    assert bool((error <= torch.maximum(x.abs(), least_normal) * HALF_STEP * 1.0001).all())
    assert float(rounded.values.float().abs().amax()) == fp8.LARGEST


def test_the_error_of_fp8_is_what_the_rounding_of_scores_allows():
    """A score moves by at most δ = scale · (|q|·|k|) · (2/16 + 1/256), a weight by exp(2δ), and so an output."""
    q, k, v = make_qkv(200, 200, head_dim=64)
    mask = random_mask(200, 200, BlockSize(64, 64), 0.8, heads=2)
    output, lse = fp8.block_sparse_attention(q, k, v, mask, 0.125)
    exact, exact_lse = attention_oracle(q, k, v, pairs_oracle(mask), 0.125)
    worst = 0.125 * (q.abs() @ (k - k.mean(2, keepdim=True)).abs().mT).amax() * (2 * HALF_STEP + HALF_STEP**2)
    kept = exact_lse.isfinite()
    assert float((lse[kept].double() - exact_lse[kept]).abs().max()) < float(worst)
    assert 1e-3 < relative_error(output, exact) < float(torch.expm1(2 * worst))
    # Rounding errors of 64 products partly cancel: what is left is far below the worst case, and far above bf16's.
    assert 0.02 < relative_error(output, exact) < 0.06
    rounded = (x.bfloat16() for x in (q, k, v))
    bf16 = fp8.reference.block_sparse_attention(*rounded, mask, 0.125)[0]
    assert relative_error(output, exact) > 5 * relative_error(bf16, exact)


def test_smoothing_takes_the_common_part_of_the_keys_out_of_the_range():
    q, k, v = make_qkv(200, 200, head_dim=64)
    k[..., :4] += 30.0
    mask = random_mask(200, 200, BlockSize(64, 64), 1.0)
    exact, exact_lse = attention_oracle(q, k, v, pairs_oracle(mask), 0.125)
    output, lse = fp8.block_sparse_attention(q, k, v, mask, 0.125)
    plain = fp8.reference.block_sparse_attention(
        fp8.quantise(q, 64).restore(64), fp8.quantise(k, 64).restore(64), v, mask, 0.125
    )
    assert relative_error(output, exact) < 0.25 * relative_error(plain[0], exact)
    assert relative_error(lse, exact_lse) < 0.25 * relative_error(plain[1], exact_lse)


@pytest.mark.parametrize(
    ("tokens", "block", "head_dim", "dtype"),
    [
        (75, BlockSize(16, 32), 32, torch.float16),
        (63, BlockSize(64, 64), 64, torch.float16),
        (200, BlockSize(128, 64), 96, torch.float16),
        (200, BlockSize(128, 128), 128, torch.float16),
    ],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_the_kernel_computes_its_meaning(tokens, block, head_dim, dtype):
    pytest.importorskip("triton")
    from videosieve.testing.triton_interpreter import interpreted

    q, k, v = make_qkv(tokens, tokens, batch=2, heads=2, head_dim=head_dim, dtype=dtype)
    k[..., 0] += 5.0
    mask, scale = random_mask(tokens, tokens, block, 0.5, heads=2), head_dim**-0.5
    mean = k.mean(2, dtype=torch.float32)
    rounded_q, rounded_k = (
        fp8.quantise(q, block.query),
        fp8.quantise(k.float() - mean.unsqueeze(2), block.key),
    )
    with interpreted():
        from videosieve.kernels.block_sparse_attention.fp8.triton import attend_rounded

        actual = attend_rounded(rounded_q, rounded_k, v, mask, scale)
    meant = rounded_q.restore(block.query), rounded_k.restore(block.key)
    assert_attention(actual, *meant, v, pairs_oracle(mask), scale)


@pytest.mark.parametrize("side", [16, 48, 128])
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_the_rounding_kernel_rounds_as_it_is_meant(side, contiguous):
    pytest.importorskip("triton")
    from videosieve.testing.triton_interpreter import interpreted

    x = make_qkv(200, 1, batch=2, heads=2, head_dim=96, dtype=torch.float16, contiguous=contiguous)[0]
    x[:, :, :, 3] += 10.0
    x[0, 0, :16] = 0.0
    mean = x.mean(2, dtype=torch.float32)
    with interpreted():
        from videosieve.kernels.block_sparse_attention.fp8.triton import round_blocks

        actual, products = round_blocks(x, side, centre=mean, probe=mean)
    centred = x.float() - mean.unsqueeze(2)
    meant = fp8.quantise(centred, side)
    torch.testing.assert_close(actual.scales, meant.scales)
    torch.testing.assert_close(products, (x.float() @ mean.unsqueeze(-1)).squeeze(-1))
    # The interpreter forgets the carry of a value that rounds up to a power of two, and rounds ties up.
    power_of_two = meant.values.float().abs().log2().frac() == 0
    assert power_of_two.float().mean() < 0.2
    got, wanted = (x.values.float()[~power_of_two] for x in (actual, meant))
    assert (got != wanted).float().mean() < 2e-3
    assert bool(((got - wanted).abs() <= wanted.abs() / 8 + 2.0**-9).all())


def test_the_whole_op_gives_the_lse_its_mean_key_back():
    pytest.importorskip("triton")
    from videosieve.testing.triton_interpreter import interpreted

    q, k, v = make_qkv(75, 75, head_dim=64, dtype=torch.float16)
    k[..., 0] += 5.0
    mask = random_mask(75, 75, BlockSize(32, 32), 0.8)
    with interpreted():
        output, lse = block_sparse_attention(q, k, v, mask, backend="triton-fp8")
    expected, expected_lse = fp8.block_sparse_attention(q, k, v, mask, 0.125)
    exact, exact_lse = attention_oracle(q, k, v, pairs_oracle(mask), 0.125)
    # Up to the interpreter's carries, which halve about one value in fifty.
    assert output.dtype == q.dtype
    assert relative_error(output, expected) < 3 * relative_error(expected, exact)
    assert relative_error(lse, exact_lse) < 3 * relative_error(expected_lse, exact_lse)


def test_fp8_is_never_taken_unasked_and_refused_before_ada(monkeypatch):
    assert [i.name for i in IMPLEMENTATIONS if not i.automatic and "fp8" in i.name] == ["triton-fp8"]
    mask = random_mask(64, 64, BlockSize(16, 16), 0.5)
    with pytest.raises(BackendError, match="triton-fp8 cannot run this block_sparse_attention: .*got cpu"):
        block_sparse_attention(*make_qkv(64, 64, head_dim=32), mask, backend="triton-fp8")
    q, k, v = make_qkv(64, 64)
    assert (
        checks.refuse_fp8_attention(q, k, v, mask, 1.0) == "head_dim must be a multiple of 32 in FP8, got 16"
    )
    offsets = torch.tensor([[[0, 20, 64]]])
    ragged = RaggedBlockMask(torch.ones(1, 1, 2, 2, dtype=torch.bool), offsets, offsets, 64)
    assert (
        checks.refuse_fp8_attention(q, k, v, ragged, 1.0) == "FP8 needs blocks of one size, got a ragged mask"
    )
