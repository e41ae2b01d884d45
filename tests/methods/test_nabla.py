"""NABLA: the binarised map and the window as loops, the dense limit, odd grids, refusals."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import RecipeError, VideoLayout
from videosieve.methods import Nabla, attend_selected
from videosieve.methods.geometry.tiles import tile_video
from videosieve.methods.nabla import near_tiles
from videosieve.testing.factories import make_call

LAYOUTS = {
    "whole tiles": VideoLayout.of(4, 4, 6),
    "odd, text last": VideoLayout.of(5, 3, 7, text_last=9),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
TILE = (1, 2, 2)
CPU = torch.device("cpu")


@layouts
@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_every_row_keeps_what_the_authors_cdf_keeps(layout, threshold):
    """Ascending masses are added up; what reaches 1 − P is kept, with everything heavier."""
    call = make_call(layout, batch=2)
    keep = Nabla(threshold, None, TILE).select(call, None)[0].mask.keep
    tiling = tile_video(layout, TILE, CPU)
    parts = tiling.order[: layout.grid.tokens].split(tiling.sizes.tolist()[: tiling.video_blocks])
    for batch, head, row in ((0, 0, 0), (1, 1, 3), (0, 1, len(parts) - 1)):
        q = call.q[batch, head, parts[row]].double().mean(0)
        scores = torch.stack([q @ call.k[batch, head, part].double().mean(0) for part in parts]) * call.scale
        values, order = scores.softmax(0).sort()
        expected = set(order[values.cumsum(0) >= 1 - threshold].tolist())
        assert set(keep[batch, head, row, : len(parts)].nonzero().flatten().tolist()) == expected
        assert keep[batch, head, row, len(parts) :].all()


def test_the_window_is_the_authors():
    """|Δ| ≤ w // 2 along every axis, tile by tile."""
    counts, window = (3, 2, 4), (3, 1, 4)
    keep = near_tiles(counts, window, CPU)
    places = [(t, y, x) for t in range(3) for y in range(2) for x in range(4)]
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            assert bool(keep[i, j]) == all(abs(m - n) <= w // 2 for m, n, w in zip(a, b, window, strict=True))


@layouts
def test_window_and_map_are_joined(layout):
    call = make_call(layout)
    both, alone = (Nabla(0.3, w, TILE).select(call, None)[0].mask.keep for w in ((3, 1, 3), None))
    tiles = tile_video(layout, TILE, CPU)
    near = near_tiles(tiles.counts, (3, 1, 3), CPU)
    video = slice(0, tiles.video_blocks)
    assert torch.equal(both[..., video, video], alone[..., video, video] | near)


@layouts
def test_keeping_all_mass_is_dense_attention(layout):
    call = make_call(layout)
    output = attend_selected(call, Nabla(1.0, None, TILE).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0.0}, r"mass to keep per row of tiles and must lie in \(0, 1\], got threshold=0.0"),
        ({"window": (0, 1, 1)}, "three numbers of tiles"),
        ({"tile": 4}, "tile has three sides"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        Nabla(**parameters)
