"""Causal attention over a block mask: dense limit, sparse truth in fp64, no leak from the future."""

import pytest
import torch

from videosieve import (
    AttentionCall,
    BlockMask,
    BlockSize,
    DenseFirst,
    Method,
    Recipe,
    Run,
    Selection,
    ShapeError,
)
from videosieve.methods import TokenOrder, attend_selected
from videosieve.methods.causal import attend_causal, causal_mask
from videosieve.testing.factories import make_call, random_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.testing.tolerances import assert_attention

AHEAD = torch.ones(75, 75, dtype=torch.bool).triu(1)


def expected_pairs(mask):
    """Kept blocks below the diagonal, every block on it, nothing ahead."""
    blocks = torch.eye(mask.keep.shape[-1], dtype=torch.bool)
    whole = BlockMask(mask.keep | blocks, mask.block, mask.queries)
    return pairs_oracle(whole) & ~AHEAD


@pytest.mark.parametrize("side", [1, 16, 64, 75])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_kept_blocks_are_attended_up_to_the_query(side, dtype):
    call = make_call(dtype=dtype, batch=2)
    mask = random_mask(75, 75, BlockSize(side, side), 0.4, batch=2, heads=2)
    output, lse, _ = attend_causal(call, causal_mask(mask))
    assert output.dtype == dtype
    assert_attention((output, lse), call.q, call.k, call.v, expected_pairs(mask), call.scale)


def test_no_output_depends_on_a_later_token():
    call = make_call()
    mask = BlockMask.dense(75, BlockSize(16, 16))
    before, _, _ = attend_causal(call, causal_mask(mask))
    for x in (call.k, call.v):
        x[:, :, 40:] = torch.randn_like(x[:, :, 40:])
    after, _, _ = attend_causal(call, causal_mask(mask))
    assert torch.equal(before[:, :, :40], after[:, :, :40])
    assert not torch.equal(before[:, :, 40:], after[:, :, 40:])


def test_a_causal_selection_refuses_what_it_cannot_honour():
    call = make_call()
    order = TokenOrder(torch.arange(75).flip(0))
    mask = BlockMask.dense(75, BlockSize(16, 16))
    with pytest.raises(ShapeError, match="blocks of one size and tokens in their own order"):
        attend_selected(call, Selection(mask, order, order, causal=True))
    oblong = BlockMask.dense(75, BlockSize(16, 32))
    with pytest.raises(ShapeError, match="square blocks"):
        attend_selected(call, Selection(oblong, causal=True, compensate=True))


class Everything(Method):
    """Causal, every block kept."""

    name = "everything"

    @property
    def is_causal(self):
        return True

    def select(self, call, state):
        return Selection(BlockMask.dense(75, BlockSize(16, 16)), causal=True), state


@pytest.mark.parametrize("dense_steps", [0, 1])
def test_a_run_is_causal_in_sparse_and_in_dense_steps_and_measures_recall_so(dense_steps):
    call = make_call()
    run = Run(Recipe(Everything(), DenseFirst(dense_steps, 0), min_tokens=0))
    expected = torch.nn.functional.scaled_dot_product_attention(call.q, call.k, call.v, is_causal=True)
    torch.testing.assert_close(run.attend(AttentionCall(call.q, call.k, call.v, call.layout)), expected)
    if not dense_steps:
        assert run.trace.records[0].recall == pytest.approx([1.0, 1.0])
