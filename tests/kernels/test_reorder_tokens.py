import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import reorder_tokens
from videosieve.kernels.reorder_tokens import IMPLEMENTATIONS
from videosieve.layout import VideoLayout, inverse_order
from videosieve.testing.factories import make_qkv
from videosieve.testing.oracles import reorder_oracle

BACKENDS = [i.name for i in IMPLEMENTATIONS if i.name != "triton"]  # which has a file of its own


def make_order(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator).argsort(-1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("orders", [(), (1, 1), (1, 3), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("chosen", [None, (1, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_chosen_heads_are_permuted_and_the_others_copied(backend, orders, chosen, contiguous):
    x, _, _ = make_qkv(63, 63, batch=2, heads=3, contiguous=contiguous)
    order = make_order(*orders, 63)
    heads = None if chosen is None else torch.rand(chosen, generator=torch.Generator().manual_seed(1)) < 0.5
    everyone = torch.ones(2, 3, dtype=torch.bool) if heads is None else heads.expand(2, 3)
    expected = reorder_oracle(x, order.expand(2, 3, 63), everyone)
    actual = reorder_tokens(x, order, heads=heads, backend=backend)
    assert torch.equal(actual, expected)
    assert actual.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_values_are_moved_unchanged_in_any_precision(backend, dtype):
    x, _, _ = make_qkv(75, 75, dtype=dtype)
    order = make_order(75)
    assert torch.equal(reorder_tokens(x, order, backend=backend), x[:, :, order])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_strides_are_read_right(backend):
    x = torch.arange(2 * 3 * 20 * 8.0).view(2, 3, 20, 8)
    order = make_order(10)
    for view in (x[:, :, ::2], x[:, :, 5:15], x[..., ::2, :4], x.flip(1)[:, :, :10], x.mT[:, :, :, :10].mT):
        assert torch.equal(reorder_tokens(view, order, backend=backend), view[:, :, order])


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(
    frames=st.integers(1, 5),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    text=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_token_major_order_and_back_is_the_identity(backend, frames, height, width, text, seed):
    order = VideoLayout.of(frames, height, width, text_last=text).token_major_order()
    x, _, _ = make_qkv(len(order), 1, heads=4, head_dim=4, generator=torch.Generator().manual_seed(seed))
    heads = torch.rand(1, 4, generator=torch.Generator().manual_seed(seed)) < 0.5
    there = reorder_tokens(x, order, heads=heads, backend=backend)
    assert torch.equal(reorder_tokens(there, inverse_order(order), heads=heads, backend=backend), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_come_back_in_place(backend):
    x = make_qkv(20, 1)[0].requires_grad_()
    weight, order = torch.randn(1, 2, 20, 16), make_order(20)
    (reorder_tokens(x, order, backend=backend) * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight[:, :, inverse_order(order)])


@pytest.mark.parametrize("shape", [(62,), (1, 63), (1, 1, 64)], ids=str)
def test_an_order_that_does_not_fit_is_refused(shape):
    with pytest.raises(ShapeError, match=r"order must be int64 \[63\] or \[1 or 1, 1 or 2, 63\], got"):
        reorder_tokens(make_qkv(63, 1)[0], make_order(*shape))


def test_tensors_elsewhere_are_refused_with_the_reason():
    with pytest.raises(
        BackendError, match="cpu cannot run this reorder_tokens: it needs CPU tensors, got meta"
    ):
        reorder_tokens(torch.empty(1, 2, 20, 4, device="meta"), make_order(20).to("meta"), backend="cpu")
