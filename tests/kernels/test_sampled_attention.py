import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import sampled_attention
from videosieve.kernels.native_library import refuse_library
from videosieve.kernels.sampled_attention import IMPLEMENTATIONS, cpu
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_attention

ON_CPU = {"cpu", "reference"} | ({"native"} if refuse_library() is None else set())
BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name in ON_CPU]


def make_masks(*shapes, density=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=generator) < density for shape in shapes]


def check(backend, q, k, v, masks, scale=None):
    result = sampled_attention(q, k, v, masks, scale=scale, backend=backend)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    assert all(tensor.dtype == wide for tensor in result)
    # Half-precision inputs are attended in fp32, so the truth and the budget are those of the widened inputs.
    q, k, v = (x.to(wide) for x in (q, k, v))
    assert result.masked_output.shape == (len(masks), *q.shape)
    everything = torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool)
    assert_attention((result.output, result.lse), q, k, v, everything, scale)
    for output, lse, mask in zip(result.masked_output, result.masked_lse, masks, strict=True):
        assert_attention((output, lse), q, k, v, mask, scale)
    return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "keys"), [(1, 75), (7, 63), (16, 200), (5, 1)])
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_full_and_masked_rows_match_fp64(backend, rows, keys, contiguous):
    q, k, v = make_qkv(rows, keys, batch=2, heads=3, contiguous=contiguous)
    check(
        backend,
        q,
        k,
        v,
        make_masks((1, 1, rows, keys), (2, 3, rows, keys), (2, 1, rows, keys), (1, 3, rows, keys)),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_precisions_are_attended_in_fp32_or_fp64(backend, dtype):
    if (backend, dtype) == ("native", torch.float64):
        pytest.skip("the native kernel computes in fp32 and refuses fp64")
    q, k, v = make_qkv(7, 75, heads=3, dtype=dtype)
    check(backend, q, k, v, make_masks((1, 1, 7, 75)), scale=0.4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mask_of_all_keys_has_recall_one(backend):
    q, k, v = make_qkv(7, 75)
    result = check(backend, q, k, v, [torch.ones(1, 1, 7, 75, dtype=torch.bool)])
    torch.testing.assert_close(result.masked_output[0], result.output)
    torch.testing.assert_close(result.masked_lse[0], result.lse)


@pytest.mark.parametrize("backend", BACKENDS)
def test_recall_is_the_kept_share_of_the_softmax(backend):
    q, k, v = make_qkv(7, 75)
    masks = make_masks((1, 1, 7, 75))
    result = sampled_attention(q, k, v, masks, backend=backend)
    weights = (q @ k.mT / 4).softmax(-1)
    torch.testing.assert_close((result.masked_lse[0] - result.lse).exp(), (weights * masks[0]).sum(-1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_that_keeps_no_key_gives_zero_and_minus_infinity(backend):
    q, k, v = make_qkv(7, 75)
    masks = make_masks((1, 1, 7, 75), (1, 2, 7, 75))
    masks[0][..., 3, :] = False
    masks[1][:, 1, 5] = False
    result = check(backend, q, k, v, masks)
    assert not result.masked_output[0, :, :, 3].any()
    assert result.masked_lse[1, 0, 1, 5] == -torch.inf
    assert result.masked_lse[1, 0, 0, 5].isfinite()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gap", [30.0, 60.0, 95.0, 300.0])
def test_kept_mass_that_underflows_is_still_attended_right(backend, gap):
    """One key outside the mask outweighs all others by exp(gap); fp32 weights end at exp(−103)."""
    q, k, v = make_qkv(7, 75, batch=2, heads=2)
    q = q.abs()
    k[:, :, 40] = 0.0
    k[..., 0] = torch.where(torch.arange(75) == 40, 1.0, k[..., 0] * 0.01)
    q[..., 0] = gap * 4
    masks = make_masks((1, 1, 7, 75), (2, 2, 7, 75))
    for mask in masks:
        mask[..., 40] = False
    result = check(backend, q, k, v, masks)
    assert (result.masked_lse - result.lse).max() < 10 - gap


def test_heads_are_worked_on_in_groups(monkeypatch):
    q, k, v = make_qkv(7, 75, batch=2, heads=5)
    masks = make_masks((1, 5, 7, 75), (2, 1, 7, 75))
    whole = sampled_attention(q, k, v, masks, backend="cpu")
    for group in (1, 2):
        monkeypatch.setattr(cpu, "GROUP_BYTES", group * 3 * 7 * 75 * 4)
        for tensor, expected in zip(check("cpu", q, k, v, masks), whole, strict=True):
            torch.testing.assert_close(tensor, expected)


@settings(max_examples=30)
@given(
    rows=st.integers(1, 20),
    keys=st.integers(1, 200),
    density=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    spread=st.sampled_from([0.1, 1.0, 10.0]),
    seed=st.integers(0, 99),
)
@example(rows=4, keys=133, density=0.0, spread=10.0, seed=20)  # few rows and large scores
def test_any_rows_and_masks_match_fp64(rows, keys, density, spread, seed):
    q, k, v = make_qkv(rows, keys, head_dim=8, generator=torch.Generator().manual_seed(seed))
    masks = make_masks((1, 1, rows, keys), (1, 2, rows, keys), density=density, seed=seed)
    for backend in BACKENDS:
        check(backend, q * spread, k, v, masks)


def test_gradients_fall_to_an_implementation_that_has_them():
    q, k, v = (x.requires_grad_() for x in make_qkv(7, 75))
    masks = make_masks((1, 1, 7, 75), density=0.9)
    sampled_attention(q, k, v, masks).masked_output.sum().backward()
    assert v.grad is not None
    with pytest.raises(BackendError, match="no backward"):
        sampled_attention(q, k, v, masks, backend="cpu")


def test_a_mask_of_another_size_is_refused():
    q, k, v = make_qkv(7, 75)
    with pytest.raises(
        ShapeError, match=r"every mask must be bool \[batch, heads, 7, 75\], got \[1, 1, 7, 74\]"
    ):
        sampled_attention(q, k, v, make_masks((1, 1, 7, 75), (1, 1, 7, 74)))
    with pytest.raises(ShapeError, match="every mask must be bool"):
        sampled_attention(q, k, v, make_masks((7, 75)))


def test_a_backend_that_does_not_exist_is_named():
    q, k, v = make_qkv(7, 75)
    with pytest.raises(
        BackendError,
        match="sampled_attention has no backend 'cuda'; there are triton, native, cpu, reference",
    ):
        sampled_attention(q, k, v, make_masks((1, 1, 7, 75)), backend="cuda")
