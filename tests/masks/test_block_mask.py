import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videosieve import BlockMask, BlockSize, ShapeError

BLOCK = BlockSize(4, 3)


def make_mask(queries=10, keys=11, block=BLOCK, batch=2, heads=3, seed=0):
    shape = (batch, heads, -(-queries // block.query), -(-keys // block.key))
    return BlockMask(
        torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5, block, queries, keys
    )


def pairs_by_loop(mask):
    """bool [batch, heads, queries, keys], one query and key at a time."""
    pairs = torch.zeros(*mask.keep.shape[:2], mask.queries, mask.keys, dtype=torch.bool)
    for query in range(mask.queries):
        for key in range(mask.keys):
            pairs[:, :, query, key] = mask.keep[:, :, query // mask.block.query, key // mask.block.key]
    return pairs


def test_to_dense_blows_blocks_up_to_tokens():
    mask = make_mask()
    assert torch.equal(mask.to_dense(), pairs_by_loop(mask))


def test_rows_are_rows_of_the_dense_mask():
    mask = make_mask()
    tokens = torch.tensor([9, 0, 3, 4, 3])
    assert torch.equal(mask.rows(tokens), pairs_by_loop(mask)[:, :, tokens])


sizes = st.integers(1, 12)


@given(
    queries=sizes,
    keys=sizes,
    query_side=st.integers(1, 5),
    key_side=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_density_counts_partial_blocks_exactly(queries, keys, query_side, key_side, seed):
    mask = make_mask(queries, keys, BlockSize(query_side, key_side), seed=seed)
    pairs = pairs_by_loop(mask).double()
    torch.testing.assert_close(mask.head_density, pairs.mean((-2, -1)), rtol=0, atol=1e-12)
    assert mask.density == pytest.approx(pairs.mean().item(), abs=1e-12)


def test_block_sizes_add_up_to_the_tokens():
    mask = make_mask(10, 11)
    assert mask.query_sizes.tolist() == [4, 4, 2]
    assert mask.key_sizes.tolist() == [3, 3, 3, 2]
    assert make_mask(8, 9).query_sizes.tolist() == [4, 4]
    assert make_mask(8, 9).key_sizes.tolist() == [3, 3, 3]
    assert make_mask(1, 2).key_sizes.tolist() == [2]


def test_compact_lists_kept_columns_in_ascending_order():
    mask = make_mask(40, 50)
    indices, counts = mask.compact
    assert indices.dtype == counts.dtype == torch.int32
    for b in range(2):
        for h in range(3):
            for row in range(10):
                columns = [c for c in range(17) if mask.keep[b, h, row, c]]
                assert counts[b, h, row] == len(columns)
                assert indices[b, h, row].tolist() == columns + [0] * (indices.shape[-1] - len(columns))
    assert indices.shape[-1] == counts.max()


def test_compact_of_an_empty_mask_has_one_padded_column():
    indices, counts = BlockMask(torch.zeros(1, 1, 3, 4, dtype=torch.bool), BLOCK, 10, 11).compact
    assert indices.tolist() == [[[[0], [0], [0]]]]
    assert not counts.any()


def test_a_dense_mask_keeps_everything():
    mask = BlockMask.dense(10, BLOCK, keys=11)
    assert mask.density == 1.0
    assert mask.to_dense().all()
    assert mask.keep.shape == (1, 1, 3, 4)


def test_keys_default_to_queries():
    assert BlockMask.dense(10, BLOCK).keys == 10


def test_plans_belong_to_one_mask():
    first, second = make_mask(), make_mask()
    first.plans["name"] = "plan"
    assert first.plans == {"name": "plan"}
    assert second.plans == {}


@pytest.mark.parametrize(
    "keep",
    [
        torch.ones(1, 1, 3, 4),
        torch.ones(1, 1, 3, 3, dtype=torch.bool),
        torch.ones(1, 1, 2, 4, dtype=torch.bool),
        torch.ones(1, 3, 4, dtype=torch.bool),
    ],
    ids=["float", "a column short", "a row short", "three axes"],
)
def test_a_keep_that_does_not_follow_from_the_sizes_is_refused(keep):
    with pytest.raises(
        ShapeError, match=r"keep must be bool \[batch, heads, 3, 4\] for 10 queries × 11 keys in BlockS"
    ):
        BlockMask(keep, BLOCK, 10, 11)


@pytest.mark.parametrize(("query", "key"), [(0, 1), (1, 0), (-1, 4)])
def test_block_sides_hold_at_least_one_token(query, key):
    name, value = ("query", query) if query < 1 else ("key", key)
    with pytest.raises(ShapeError, match=f"block side has at least one token, got {name}={value}"):
        BlockSize(query, key)


def test_compact_lists_away_from_the_cpu_have_room_for_every_block():
    """Their length must not depend on a value, or the host would wait for the device; meta tensors have no values."""
    keep = torch.zeros(1, 2, 3, 5, dtype=torch.bool, device="meta")
    lists = BlockMask(keep, BlockSize(16, 16), 48, 80).compact
    assert lists.indices.shape == (1, 2, 3, 5)
    assert lists.counts.shape == (1, 2, 3)
