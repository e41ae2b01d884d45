"""DraftAttention: the draft as loops, the dense limit, planted tiles, invariances, refusals."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, VideoLayout
from videosieve.methods import attend_selected
from videosieve.methods.draft import DraftAttention, heaviest_entries
from videosieve.testing.factories import make_call

LAYOUTS = {
    "whole tiles": VideoLayout.of(3, 4, 8),
    "text first": VideoLayout.of(3, 4, 8, text_first=5),
    "odd, text last": VideoLayout.of(3, 5, 7, text_last=9),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
TILE = (1, 2, 4)


def tiles_by_loops(layout):
    """Token positions of every tile: frame by frame, two rows and four columns at most, cut evenly."""
    grid = layout.grid
    row_parts, column_parts = -(-grid.height // 2), -(-grid.width // 4)
    rows = [i * grid.height // row_parts for i in range(row_parts + 1)]
    columns = [i * grid.width // column_parts for i in range(column_parts + 1)]
    return [
        [
            layout.video.start + (frame * grid.height + y) * grid.width + x
            for y in range(rows[a], rows[a + 1])
            for x in range(columns[b], columns[b + 1])
        ]
        for frame in range(grid.frames)
        for a in range(row_parts)
        for b in range(column_parts)
    ]


def pairs_by_loops(call, batch, head, density):
    """The paper's draft map and its heaviest entries, blown up to pairs of tokens."""
    tiles = tiles_by_loops(call.layout)
    n = len(tiles)
    q = torch.stack([call.q[batch, head, tile].mean(0) for tile in tiles])
    k = torch.stack([call.k[batch, head, tile].mean(0) for tile in tiles])
    draft = (q @ k.T * call.scale).softmax(-1)
    best = draft.argmax(-1).tolist()
    kept = {(row, column) for row, column in enumerate(best)}
    for index in draft.flatten().argsort(descending=True).tolist():
        if len(kept) >= round(density * n * n):
            break
        kept.add(divmod(index, n))
    pairs = torch.zeros(call.tokens, call.tokens, dtype=torch.bool)
    for row, column in kept:
        pairs[torch.tensor(tiles[row])[:, None], torch.tensor(tiles[column])] = True
    outside = torch.ones(call.tokens, dtype=torch.bool)
    outside[call.layout.video] = False
    return pairs | outside | outside[:, None]


@layouts
@pytest.mark.parametrize("density", [0.05, 0.4])
def test_the_heaviest_entries_of_every_heads_draft_are_computed(layout, density):
    call = make_call(layout, batch=2)
    output = attend_selected(call, DraftAttention(density, TILE).select(call, None)[0]).output
    for batch, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pairs = pairs_by_loops(call, batch, head, density)
        q, k, v = (x[batch, head] for x in (call.q, call.k, call.v))
        expected = scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=pairs)[0]
        torch.testing.assert_close(output[batch, head], expected, atol=1e-5, rtol=1e-4)


@layouts
def test_keeping_every_entry_is_dense_attention(layout):
    call = make_call(layout)
    output = attend_selected(call, DraftAttention(1.0, TILE).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


def test_planted_tiles_are_found_across_frames():
    layout = LAYOUTS["whole tiles"]
    call = make_call(layout, heads=1)
    call.q.mul_(0.1)
    tiles = tiles_by_loops(layout)
    call.q[:, :, tiles[1]] = call.k[:, :, tiles[10]] = 3.0
    keep = DraftAttention(0.1, TILE).select(call, None)[0].mask.keep[0, 0]
    assert keep[1].nonzero().flatten().tolist() == [10]


def test_heads_share_no_budget_and_rows_of_a_head_do():
    draft = torch.full((1, 2, 4, 4), 0.25)
    draft[0, 0] = torch.tensor([[0.25] * 4, [0.25] * 4, [1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    keep = heaviest_entries(draft, 0.625)
    assert keep.sum((-1, -2)).tolist() == [[10, 10]]
    assert keep[0, 0].sum(-1).tolist() == [4, 4, 1, 1]


@pytest.mark.parametrize("density", [0.01, 0.3, 0.77])
def test_the_budget_is_exact_and_no_row_is_empty(density):
    draft = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    draft[0, 0, 4] = 0
    keep = heaviest_entries(draft, density)
    assert keep.any(-1).all()
    assert (keep.sum((-1, -2)) == max(round(density * 81), 9)).all()


def test_moved_tiles_take_their_entries_along():
    layout = LAYOUTS["whole tiles"]
    call, tiles = make_call(layout), tiles_by_loops(layout)
    order = torch.randperm(len(tiles), generator=torch.Generator().manual_seed(1))
    moved = call.k.clone()
    for place, tile in enumerate(order.tolist()):
        moved[:, :, tiles[place]] = call.k[:, :, tiles[tile]]
    method = DraftAttention(0.3, TILE)
    keep, there = (
        method.select(AttentionCall(call.q, k, call.v, layout), None)[0].mask.keep for k in (call.k, moved)
    )
    assert torch.equal(there, keep[..., order])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 0}, r"that a head keeps and must lie in \(0, 1\], got density=0"),
        ({"tile": (8, 16)}, "tile has three sides"),
        ({"tile": (1, 0, 16)}, "tile has three sides"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        DraftAttention(**parameters)
