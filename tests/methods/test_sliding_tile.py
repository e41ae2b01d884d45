"""Sliding Tile Attention: windows as loops, the dense limit, a planted window, the head search, refusals."""

import itertools

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.methods import attend_selected
from videosieve.methods.searches.sliding_tile import SlidingTileSearch, best_windows
from videosieve.methods.sliding_tile import SlidingTile, window_for, window_tiles
from videosieve.testing.factories import make_call

COUNTS = (5, 6, 4)
CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [(3, 3, 3), (5, 1, 3), (2, 4, 1), (9, 6, 2), (1, 1, 1)])
def test_a_window_is_moved_inwards_at_the_border_and_never_cut(window):
    keep = window_tiles(COUNTS, window)
    tiles = list(itertools.product(*map(range, COUNTS)))
    for q, k in itertools.product(range(len(tiles)), repeat=2):
        inside = []
        for axis in range(3):
            wide = min(window[axis], COUNTS[axis])
            first = min(max(tiles[q][axis] - wide // 2, 0), COUNTS[axis] - wide)
            inside.append(first <= tiles[k][axis] < first + wide)
        assert bool(keep[q, k]) == all(inside)
    assert keep.diagonal().all()
    assert (keep.sum(-1) == keep[0].sum()).all()


def test_odd_windows_are_the_authors_clamped_centre():
    """kernel centre = clamp(q, ⌊w/2⌋, n−1−⌊w/2⌋), keys within ⌊w/2⌋ of it."""
    keep = window_tiles((9, 1, 1), (5, 1, 1))
    for q, k in itertools.product(range(9), repeat=2):
        assert bool(keep[q, k]) == (abs(min(max(q, 2), 6) - k) <= 2)


@pytest.mark.parametrize(
    "layout", [VideoLayout.of(4, 8, 8), VideoLayout.of(5, 7, 9, text_first=6), VideoLayout.of(2, 2, 2)]
)
def test_a_window_over_everything_is_dense_attention(layout):
    call = make_call(layout)
    selection, _ = SlidingTile(window=(99, 99, 99)).select(call, None)
    torch.testing.assert_close(
        attend_selected(call, selection).output, scaled_dot_product_attention(call.q, call.k, call.v)
    )


def test_a_planted_window_is_held_whole():
    """Every query attends to its own and the neighbouring tiles only."""
    layout = VideoLayout.of(3, 8, 8)
    corner = torch.cartesian_prod(*[torch.arange(n) // 2 for n in (3, 8, 8)]).float()
    call = make_call(layout, heads=1, head_dim=8)
    near = (corner[:, None] - corner).abs().amax(-1) <= 1
    method = SlidingTile(window=(3, 3, 3), tile=(2, 2, 2))
    selection, _ = method.select(call, None)
    order = selection.query_order.order
    keep = selection.mask.to_dense()[0, 0]
    assert keep[near[order][:, order]].all()
    assert selection.mask.density < 0.8


def test_the_window_nearest_a_density_is_even():
    layout = VideoLayout.of(24, 48, 80)
    for density in (0.1, 0.3, 0.6):
        window = window_for(density, layout, (6, 8, 8))
        mask = SlidingTile(window=window, tile=(6, 8, 8)).select(make_call(layout, heads=1, head_dim=1), None)
        assert mask[0].mask.density == pytest.approx(density, rel=0.11)
    assert window_for(1.0, layout, (6, 8, 8)) == (4, 6, 10)


def test_densities_are_met_in_small_videos_as_near_as_windows_allow():
    layout = VideoLayout.of(16, 8, 8, text_last=24)
    found = SlidingTile(density=0.3).select(make_call(layout), None)[0].mask.density
    every = [
        SlidingTile(window=window).select(make_call(layout), None)[0].mask.density
        for window in itertools.product(range(1, 5), range(1, 3), range(1, 3))
    ]
    assert abs(found - 0.3) <= max(min(abs(density - 0.3) for density in every), 0.03) + 1e-6


def test_windows_differ_by_layer_and_head():
    table = (((1, 1, 1), (9, 9, 9)), ((9, 1, 1), (1, 9, 9)))
    layout = VideoLayout.of(8, 8, 8, text_last=3)
    method = SlidingTile(head_windows=table)
    for layer in range(2):
        keep = method.select(make_call(layout, site=Site(layer, 2)), None)[0].mask.keep
        for head in range(2):
            alone = SlidingTile(window=table[layer][head]).select(make_call(layout), None)[0].mask.keep
            assert torch.equal(keep[0, head], alone[0, 0])
    with pytest.raises(RecipeError, match="head_windows needs one row for each of 3 layers"):
        method.select(make_call(layout, site=Site(0, 3)), None)


def test_every_head_gets_the_window_of_least_output_error():
    layout = VideoLayout.of(8, 8, 8)
    windows = ((1, 2, 2), (2, 1, 2), (2, 2, 1))
    run = Run(Recipe(SlidingTileSearch(windows), DenseFirst(0, 0), min_tokens=0))
    calls = [
        make_call(layout, heads=3, site=Site(1, 3, step, 2), generator=torch.Generator().manual_seed(step))
        for step in (0, 1)
    ]
    for call in calls:
        frame, row, column = torch.unravel_index(torch.arange(512), (8, 8, 8))
        for head, axis in enumerate((frame, row, column)):  # a head that stays inside its half of one axis
            side = (axis >= 4).float() * 2 - 1
            call.q[:, head, :, 0] = side * 20
            call.k[:, head, :, 0] = side * 20
        torch.testing.assert_close(
            run.attend(call), scaled_dot_product_attention(call.q, call.k, call.v), atol=1e-5, rtol=1e-4
        )
    table = best_windows(run.states(), windows, 3)
    assert table[1] == windows
    assert table[0] == table[2] == (windows[0],) * 3
    errors = torch.zeros(3, 3)
    for call, (i, window) in itertools.product(calls, enumerate(windows)):
        output = attend_selected(call, SlidingTile(window=window).select(call, None)[0]).output
        dense = scaled_dot_product_attention(call.q, call.k, call.v)
        errors[i] += (output - dense).square().mean((0, 2, 3))
    torch.testing.assert_close(run.states()["", 1, "cond"], errors, atol=1e-6, rtol=1e-3)


def test_a_search_without_calls_says_what_to_do():
    with pytest.raises(RecipeError, match="no attention call was searched; use dense_steps=0"):
        best_windows({}, ((1, 1, 1),), 2)
    with pytest.raises(RecipeError, match="at least one candidate"):
        SlidingTileSearch(())


def test_lists_from_a_recipe_become_tuples():
    method = SlidingTile(window=[3, 3, 3], tile=[4, 4, 4], head_windows=[[[1, 1, 1]]])
    assert (method.window, method.tile, method.head_windows) == ((3, 3, 3), (4, 4, 4), (((1, 1, 1),),))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 1.1}, r"pairs to keep and must lie in \(0, 1\], got density=1.1"),
        ({"window": (3, 3)}, r"at least 1 each, got window=\(3, 3\)"),
        ({"window": (3, 3, 0)}, r"got window=\(3, 3, 0\)"),
        ({"head_windows": (((3, 3, 3), (3, -1, 3)),)}, r"got head_windows\[0\]\[1\]=\(3, -1, 3\)"),
        ({"tile": (6, 8)}, "tile has three sides"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        SlidingTile(**parameters)
