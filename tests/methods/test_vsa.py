"""VSA's coarse stage: top-k of pooled cubes as loops, the dense limit, a planted cube, invariances, refusals."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, VideoLayout
from videosieve.methods import attend_selected
from videosieve.methods.geometry.tiles import tile_video
from videosieve.methods.vsa import VsaCoarse
from videosieve.testing.factories import make_call

LAYOUTS = {
    "whole cubes": VideoLayout.of(4, 4, 6),
    "odd, text last": VideoLayout.of(5, 3, 7, text_last=9),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
TILE = (2, 2, 2)


def cubes(layout):
    tiling = tile_video(layout, TILE, torch.device("cpu"))
    return [
        part.tolist()
        for part in tiling.order[: layout.grid.tokens].split(tiling.sizes.tolist()[: tiling.video_blocks])
    ]


@layouts
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_every_cube_sees_the_cubes_of_highest_pooled_score(layout, density):
    call = make_call(layout, batch=2)
    keep = VsaCoarse(density, TILE).select(call, None)[0].mask.keep
    parts = cubes(layout)
    count = math.ceil(density * len(parts))
    for batch, head, row in ((0, 0, 0), (1, 1, 3), (0, 1, len(parts) - 1)):
        q = call.q[batch, head, parts[row]].mean(0)
        scores = torch.stack([q @ call.k[batch, head, part].mean(0) for part in parts])
        expected = set(scores.topk(count).indices.tolist())
        assert set(keep[batch, head, row, : len(parts)].nonzero().flatten().tolist()) == expected
        assert keep[batch, head, row, len(parts) :].all()


@layouts
def test_keeping_every_cube_is_dense_attention(layout):
    call = make_call(layout)
    output = attend_selected(call, VsaCoarse(1.0, TILE).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


def test_a_planted_cube_is_found():
    layout = LAYOUTS["whole cubes"]
    call = make_call(layout, heads=1)
    parts = cubes(layout)
    call.q[:, :, parts[2]] = call.k[:, :, parts[7]] = 3.0
    keep = VsaCoarse(0.05, TILE).select(call, None)[0].mask.keep[0, 0]
    assert keep[2].nonzero().flatten().tolist() == [7]


def test_tokens_of_a_cube_may_change_places():
    layout = LAYOUTS["whole cubes"]
    call = make_call(layout)
    order = torch.arange(layout.tokens)
    for part in cubes(layout):
        order[part] = torch.tensor(part[::-1])
    moved = AttentionCall(*(x[:, :, order] for x in (call.q, call.k, call.v)), layout)
    keep, there = (VsaCoarse(0.3, TILE).select(c, None)[0].mask.keep for c in (call, moved))
    assert torch.equal(keep, there)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 2}, r"of queries sees, in \(0, 1\]|must lie in \(0, 1\], got density=2"),
        ({"tile": 4}, "tile has three sides"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        VsaCoarse(**parameters)
