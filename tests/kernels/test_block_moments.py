"""Second moments of blocks against loops in fp64, on every instruction set; cancellation, empty blocks, refusals."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.kernels import block_moments
from videosieve.kernels.block_moments import Moments, native
from videosieve.kernels.centroids import key_offsets
from videosieve.kernels.native_library import load, refuse_library
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.clusters import judge_block_moments, moments_oracle
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask

NATIVE = refuse_library() is None
BACKENDS = ["reference", *(["native"] if NATIVE else [])]
backends = pytest.mark.parametrize("backend", BACKENDS)


def order_of(tokens):
    return torch.rand(2, 3, tokens, generator=torch.Generator().manual_seed(5)).argsort(-1)


def masks(tokens):
    return (
        random_mask(tokens, tokens, BlockSize(48, 16), 0.4, batch=2, heads=3),
        random_ragged_mask(tokens, tokens, (5, 20), 0.4, batch=2, heads=3),
    )


@backends
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("axes", "others"), [(7, 3), (16, 4), (64, 9), (8, None)])
def test_every_block_has_the_moments_of_loops(backend, dtype, axes, others):
    _, x, y = make_qkv(175, 175, batch=2, heads=3, head_dim=axes, dtype=dtype)
    y = None if others is None else torch.cat([y, y.flip(2)], -1)[..., :others]
    for mask in masks(175):
        for order in (None, order_of(175)):
            result = block_moments(x, key_offsets(mask), y=y, order=order, backend=backend)
            judge_block_moments(result, backend, x, key_offsets(mask), y, order)


@pytest.mark.skipif(not NATIVE, reason=f"{refuse_library()}")
def test_every_instruction_set_has_them():
    _, x, y = make_qkv(1, 333, heads=3, batch=2, head_dim=37)
    offsets, order = key_offsets(masks(333)[1]), order_of(333)
    for name in load().instruction_sets:
        for other in (None, y[..., :6]):
            result = Moments(*native.block_moments(x, offsets, other, order, name))
            judge_block_moments(result, name, x, offsets, other, order)


@backends
def test_moments_far_from_zero_do_not_cancel(backend):
    """A difference of squares would lose all digits of a variance of 1 around a mean of 4,096."""
    _, x, y = make_qkv(1, 64, heads=1)
    x, offsets = (x + 4096).contiguous(), torch.tensor([[[0, 64]]])
    result = block_moments(x, offsets, y=y - 4096, backend=backend)
    for got, exact in zip(result, moments_oracle(x, offsets, y - 4096), strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=1e-3, atol=1e-3)


@backends
def test_an_empty_block_has_none(backend):
    _, x, y = make_qkv(1, 20)
    moments = block_moments(x, torch.tensor([[[0, 12, 12, 20]]]), y=y, backend=backend)
    assert not moments.variances[:, :, 1].any()
    assert not moments.covariances[:, :, 1].any()


def test_values_of_other_tokens_are_refused():
    _, x, y = make_qkv(1, 20)
    with pytest.raises(ShapeError, match="of the tokens of x"):
        block_moments(x, torch.tensor([[[0, 20]]]), y=y[:, :, :19])
