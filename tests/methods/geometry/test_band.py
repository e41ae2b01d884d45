"""The geometry of spatial and temporal bands against loops over single tokens."""

from functools import lru_cache

import pytest
import torch

from videosieve import AttentionCall, BlockMask, RecipeError, VideoLayout
from videosieve.layout import Grid, Segment, inverse_order
from videosieve.methods import SparseVideoGen, SpatialOnly, TemporalOnly, TokenOrder, attend_selected
from videosieve.methods.geometry.band import KINDS, band_patterns, nearest_pairs, select_kinds, token_orders

CPU = torch.device("cpu")
LAYOUTS = {
    "video only": VideoLayout.of(5, 3, 4),
    "text first": VideoLayout.of(5, 3, 4, text_first=7),
    "text last": VideoLayout.of(5, 3, 4, text_last=7),
    "text and extra last": VideoLayout.of(4, 3, 5, text_last=3, extra_last=6),
    "extra first, text last": VideoLayout(
        (Segment("extra", 5), Segment("video", 36, Grid(3, 2, 6)), Segment("text", 4))
    ),
    "one frame": VideoLayout.of(1, 6, 7, text_first=3),
    "one place": VideoLayout.of(30, 1, 1, text_last=3),
    "smaller than a block": VideoLayout.of(2, 1, 2),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
kinds = pytest.mark.parametrize("kind", KINDS)
sinks = pytest.mark.parametrize("sink", [False, True], ids=["no sink", "sink"])


def place(layout, kind, token):
    """n' = C + p·F + f for the video tokens of temporal heads (§1.5 of the authors' placement), n for others."""
    n = token - layout.video.start
    if kind == "spatial" or not 0 <= n < layout.grid.tokens:
        return token
    f, p = divmod(n, layout.grid.tokens_per_frame)
    return layout.video.start + p * layout.grid.frames + f


def key_column(layout, kind, token, sink):
    """Where a key lies: like its query, but with a sink temporal heads put the first frame first."""
    n, frames, per_frame = token - layout.video.start, layout.grid.frames, layout.grid.tokens_per_frame
    if kind == "spatial" or not sink or not 0 <= n < layout.grid.tokens:
        return place(layout, kind, token)
    f, p = divmod(n, per_frame)
    return layout.video.start + (p if f == 0 else per_frame + p * (frames - 1) + f - 1)


@lru_cache
def looped_distances(layout, kind, block, sink):
    """Distance of the nearest pair of every block, 0 for text, extra and sink, by looping over all pairs."""
    blocks = -(-layout.tokens // block)
    nearest = torch.full((blocks, blocks), layout.tokens)
    video = range(layout.video.start, layout.video.stop)
    first_frame = range(layout.video.start, layout.video.start + layout.grid.tokens_per_frame)
    for query in range(layout.tokens):
        row = place(layout, kind, query) // block
        for key in range(layout.tokens):
            column = key_column(layout, kind, key, sink) // block
            always = query not in video or key not in video or (sink and key in first_frame)
            apart = 0 if always else abs(place(layout, kind, query) - place(layout, kind, key))
            nearest[row, column] = min(int(nearest[row, column]), apart)
    return nearest


def seen_keys(layout, selection):
    """bool [heads, queries, keys] numbered as in the model: equal scores, and values that say which key they are."""
    heads = 1 if selection.pattern is None else selection.pattern.shape[1]
    q = torch.zeros(1, heads, layout.tokens, layout.tokens)
    v = torch.eye(layout.tokens).expand_as(q)
    return attend_selected(AttentionCall(q, q, v, layout), selection).output[0] > 0


def select_both(layout, density, block, sink):
    """A selection with one spatial and one temporal head."""
    patterns = band_patterns(layout, density, block, sink, CPU)
    return patterns, select_kinds(patterns, torch.tensor([[0, 1]]), None)


@layouts
@kinds
@sinks
@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("density", [0.01, 0.5])
def test_kept_blocks_are_those_that_hold_a_kept_pair(layout, kind, sink, block, density):
    pattern = band_patterns(layout, density, block, sink, CPU)[KINDS.index(kind)]
    expected = looped_distances(layout, kind, block, sink) < pattern.width
    assert torch.equal(pattern.mask.keep[0, 0], expected)


@layouts
@kinds
@sinks
@pytest.mark.parametrize("density", [0.001, 0.3, 0.8])
def test_no_other_width_comes_closer_to_the_density(layout, kind, sink, density):
    pattern = band_patterns(layout, density, 4, sink, CPU)[KINDS.index(kind)]
    whole = layout.in_whole_blocks(4)
    nearest = looped_distances(whole, kind, 4, sink)
    shares = [
        BlockMask((nearest < width)[None, None], pattern.mask.block, whole.tokens).density
        for width in range(1, layout.tokens + 1)
    ]
    assert abs(shares[pattern.width - 1] - density) <= min(abs(share - density) for share in shares) + 1e-12


@layouts
@sinks
def test_density_1_keeps_every_block(layout, sink):
    for pattern in band_patterns(layout, 1.0, 8, sink, CPU):
        assert pattern.mask.density == 1.0


@layouts
@sinks
def test_the_thinnest_band_still_holds_every_token_itself_and_all_text(layout, sink):
    _, selection = select_both(layout, 1e-9, 8, sink)
    seen = seen_keys(layout, selection)
    outside = torch.ones(layout.tokens, dtype=torch.bool)
    outside[layout.video] = False
    assert seen.diagonal(dim1=-2, dim2=-1).all()
    assert seen[:, outside].all()
    assert seen[:, :, outside].all()


@layouts
@sinks
def test_rows_are_the_keys_that_execution_lets_each_query_see(layout, sink):
    patterns, selection = select_both(layout, 0.3, 4, sink)
    tokens = torch.arange(layout.tokens)
    for pattern, seen in zip(patterns, seen_keys(layout, selection), strict=True):
        assert torch.equal(pattern.rows(tokens)[0, 0], seen)
        some = tokens[:: max(1, layout.tokens // 3)]
        assert torch.equal(pattern.rows(some)[0, 0], seen[some])


@layouts
@sinks
def test_both_kinds_share_one_mask_unless_a_sink_moves_the_keys(layout, sink):
    patterns, selection = select_both(layout, 0.3, 4, sink)
    if not sink:
        assert torch.equal(patterns[0].mask.keep, patterns[1].mask.keep)
    if sink and layout.grid.frames > 1 and layout.grid.tokens_per_frame > 1:
        assert selection.mask.keep.shape[1] == 2
        for head, pattern in enumerate(patterns):
            assert torch.equal(selection.mask.keep[:, head], pattern.mask.keep[:, 0])
    else:
        assert selection.mask is patterns[0].mask


def test_the_sink_of_temporal_heads_is_the_first_frame_and_nothing_else():
    layout = VideoLayout.of(6, 4, 4, text_first=8)  # blocks of 8 cut text, first frame and the rest cleanly
    _, selection = select_both(layout, 1e-9, 8, sink=True)
    spatial, temporal = seen_keys(layout, selection)
    first_frame = torch.zeros(layout.tokens, dtype=torch.bool)
    first_frame[8:24] = True
    first_frame[:8] = True  # and the text
    for seen in (spatial, temporal):
        assert seen[:, first_frame].all()
    # Beyond it a query sees only the few blocks on its diagonal: two, where its eight places straddle an edge.
    assert (temporal[8:, ~first_frame].sum(-1) <= 16).all()
    # No other key is seen by every query.
    assert torch.equal(temporal[8:].all(0), first_frame)
    assert torch.equal(spatial[8:].all(0), first_frame)
    order = token_orders(layout, "temporal", first_frame_sink=True)[1]
    assert order[8:24].tolist() == list(range(8, 24))


@layouts
@kinds
@sinks
def test_orders_put_every_token_where_the_formula_says(layout, kind, sink):
    queries, keys = token_orders(layout, kind, sink)
    for token in range(layout.tokens):
        assert queries[place(layout, kind, token)] == token
        assert keys[key_column(layout, kind, token, sink)] == token


@layouts
def test_an_order_and_its_inverse_give_the_tokens_back(layout):
    x = torch.randn(2, 3, layout.tokens, 4, generator=torch.Generator().manual_seed(0))
    for order in token_orders(layout, "temporal", first_frame_sink=True):
        heads = torch.tensor([[True, False, True], [False, False, True]])
        assert torch.equal(order[inverse_order(order)], torch.arange(layout.tokens))
        moved = TokenOrder(order, heads)
        assert torch.equal(moved.undo(moved.apply(x)), x)
        assert torch.equal(moved.apply(x)[0, 1], x[0, 1])
        assert torch.equal(moved.apply(x)[0, 0], x[0, 0, order])


def test_equal_arguments_give_the_same_objects():
    first = band_patterns(VideoLayout.of(4, 3, 5), 0.3, None, False, CPU)
    second = band_patterns(VideoLayout.of(4, 3, 5), 0.3, None, False, torch.device("cpu"))
    assert first[0].mask is second[0].mask
    assert first[1].query_order is second[1].query_order


@pytest.mark.parametrize(("layout", "side"), [((15, 32, 34), 64), ((16, 32, 32), 128), ((33, 45, 80), 128)])
def test_the_block_is_64_below_16384_tokens_and_128_from_there(layout, side):
    mask = band_patterns(VideoLayout.of(*layout), 0.3, None, False, CPU)[0].mask
    assert (mask.block.query, mask.block.key) == (side, side)


@kinds
def test_text_before_the_video_does_not_move_the_band(kind):
    without, behind = (
        nearest_pairs(*token_orders(VideoLayout.of(6, 4, 4, text_first=text), kind, False), 8)
        for text in (0, 16)
    )
    assert torch.equal(behind[2:, 2:], without)


@pytest.mark.parametrize("density", [0, -0.1, 1.01, float("nan"), True, "0.3", None])
def test_a_density_outside_its_range_is_refused(density):
    for method in (SparseVideoGen, SpatialOnly, TemporalOnly):
        with pytest.raises(RecipeError, match=r"density .* must lie in \(0, 1\], got density="):
            method(density=density)


@pytest.mark.parametrize("block", [0, -64, 64.0, True, "64"])
def test_a_block_that_is_no_whole_side_is_refused(block):
    for method in (SparseVideoGen, SpatialOnly, TemporalOnly):
        with pytest.raises(RecipeError, match="block is a side in whole tokens, .* at least 1, got block="):
            method(block=block)
