import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videosieve import BlockMask, BlockSize, ShapeError
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import random_ragged_mask
from videosieve.testing.oracles import pairs_oracle


def make_mask(queries=10, keys=11, rows=4, columns=3, batch=2, heads=3, seed=0):
    return random_ragged_mask(queries, keys, (rows, columns), 0.5, batch=batch, heads=heads, seed=seed)


sizes = st.integers(1, 9)


@given(queries=sizes, keys=sizes, rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 9))
def test_blocks_are_where_the_offsets_say(queries, keys, rows, columns, seed):
    mask = make_mask(queries, keys, rows, columns, seed=seed)
    pairs = pairs_oracle(mask)
    assert torch.equal(mask.to_dense(), pairs)
    torch.testing.assert_close(mask.head_density, pairs.double().mean((-2, -1)), rtol=0, atol=1e-12)
    assert mask.density == pytest.approx(pairs.double().mean().item(), abs=1e-12)


def test_shared_offsets_serve_every_head():
    one = make_mask(batch=1, heads=1)
    keep = torch.rand(2, 3, 4, 3) < 0.5
    shared = RaggedBlockMask(keep, one.query_offsets, one.key_offsets, 10, 11)
    spread = [x.expand(2, 3, -1).clone() for x in (one.query_offsets, one.key_offsets)]
    assert torch.equal(shared.to_dense(), RaggedBlockMask(keep, *spread, 10, 11).to_dense())


def test_even_cuts_are_a_block_mask():
    keep = torch.rand(2, 3, 3, 4) < 0.5
    offsets = torch.tensor([0, 4, 8, 10])[None, None], torch.tensor([0, 3, 6, 9, 11])[None, None]
    even, ragged = BlockMask(keep, BlockSize(4, 3), 10, 11), RaggedBlockMask(keep, *offsets, 10, 11)
    assert torch.equal(even.to_dense(), ragged.to_dense())
    assert torch.equal(even.compact.indices, ragged.compact.indices)
    torch.testing.assert_close(even.head_density, ragged.head_density)


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ([0, 4, 3, 8, 10], "must ascend from 0 to 10"),
        ([1, 2, 3, 4, 10], "must ascend from 0 to 10"),
        ([0, 2, 3, 4, 9], "must ascend from 0 to 10"),
        ([0, 10], "for 4 blocks"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(offsets, said):
    mask = make_mask(batch=1, heads=1)
    with pytest.raises(ShapeError, match=said):
        RaggedBlockMask(mask.keep, torch.tensor(offsets)[None, None], mask.key_offsets, 10, 11)


def test_a_keep_that_is_not_boolean_is_refused():
    mask = make_mask(batch=1, heads=1)
    with pytest.raises(ShapeError, match="keep must be bool"):
        RaggedBlockMask(mask.keep.float(), mask.query_offsets, mask.key_offsets, 10, 11)
