"""Radial Attention: the bands as loops, the dense limit, a planted radial head, frames reversed, refusals."""

import math
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import Recipe, RecipeError, VideoLayout
from videosieve.methods import attend_selected
from videosieve.methods.radial import RadialAttention, band_width, radial_selection
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(9, 6, 10),
    "text last": VideoLayout.of(9, 6, 10, text_last=9),
    "text first": VideoLayout.of(9, 6, 10, text_first=13),
    "odd stretches": VideoLayout.of(6, 5, 5),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
widths = pytest.mark.parametrize("widths", ["paper", "official"])
SIDE = 10
CPU = torch.device("cpu")


def keep_by_loops(layout, decay, official, sink, thins=True):
    """Blocks of the video: one frame and one stretch each."""
    frames, per_frame = layout.grid.frames, layout.grid.tokens_per_frame
    parts = -(-per_frame // SIDE)
    edges = [n * per_frame // parts for n in range(parts + 1)]
    middle = [(a + b) / 2 for a, b in pairwise(edges)]
    keep = torch.zeros(frames * parts, frames * parts, dtype=torch.bool)
    for i, j in torch.cartesian_prod(torch.arange(frames), torch.arange(frames)).tolist():
        distance = abs(i - j)
        for a, b in torch.cartesian_prod(torch.arange(parts), torch.arange(parts)).tolist():
            if distance <= 1 or (sink and j == 0):
                kept = True
            else:
                if official:
                    plain = 2 ** len(f"{per_frame:b}") / 2 ** len(f"{distance:b}")
                else:
                    plain = per_frame / 2 ** math.floor(math.log2(distance))
                width = decay * plain
                period = max(int(SIDE / (width if thins else plain)), 1)
                reach = max(width, SIDE) if official else width
                kept = distance % period == 0 and abs(middle[a] - middle[b]) <= reach
            keep[i * parts + a, j * parts + b] = kept
    return keep


@layouts
@widths
@pytest.mark.parametrize("decay", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("thins", [False, True])
def test_bands_halve_with_every_doubling_of_the_distance(layout, widths, decay, sink, thins):
    call = make_call(layout)
    method = RadialAttention(decay=decay, widths=widths, first_frame_sink=sink, block=SIDE, decay_thins=thins)
    keep = method.select(call, None)[0].mask.keep[0, 0]
    expected = keep_by_loops(layout, decay, widths == "official", sink, thins)
    assert torch.equal(keep[: len(expected), : len(expected)], expected)
    assert keep[len(expected) :].all()
    assert keep[:, len(expected) :].all()


def test_widths_at_hunyuanvideo_size_are_those_of_paper_and_code():
    assert [band_width(3600, d, "paper") for d in (2, 3, 4, 8, 32)] == [1800, 1800, 900, 450, 112.5]
    assert [band_width(3600, d, "official") for d in (2, 3, 4, 8, 32)] == [1024, 1024, 512, 256, 64]


def test_the_recipes_of_the_authors_scripts_thin_frames_as_the_authors_do():
    for name in ("radial-wan", "radial-hunyuanvideo"):
        method = Recipe.of(name).method
        assert isinstance(method, RadialAttention)
        assert not method.decay_thins
    layout = VideoLayout.of(21, 30, 52)  # Wan 2.1 at 480p: 1,560 tokens a frame
    ours, theirs = (
        radial_selection(
            RadialAttention(decay=0.2, widths="official", decay_thins=thins), layout, 128, CPU
        ).mask
        for thins in (True, False)
    )
    # 2^11 / 2^3 · 0.2 = 51 < 128 already at D = 4, where the authors' 256 thins nothing
    assert ours.density < theirs.density
    assert bool((ours.keep <= theirs.keep).all())


@layouts
@widths
def test_a_wide_enough_band_is_dense_attention(layout, widths):
    call = make_call(layout)
    result = videosieve.attention(
        call.q, call.k, call.v, layout, "radial", decay=100.0, widths=widths, block=SIDE
    )
    torch.testing.assert_close(result.output, scaled_dot_product_attention(call.q, call.k, call.v))
    assert RadialAttention(density=1.0, block=SIDE).select(call, None)[0].mask.density == 1


def test_a_planted_radial_head_is_held():
    """Every query sees its own place in all frames, and places nearby in frames nearby."""
    layout = VideoLayout.of(8, 1, 64)
    place = torch.arange(64) / 64 * math.pi
    places = torch.stack([place.cos(), place.sin()], -1).repeat(8, 1)
    frame = torch.arange(8).repeat_interleave(64) / 8 * math.pi
    frames = torch.stack([frame.cos(), frame.sin()], -1)
    call = make_call(layout, heads=1, head_dim=4)
    call.q[:] = 100 * torch.cat([places, 0.3 * frames], -1)
    call.k[:] = torch.cat([places, 0.3 * frames], -1)
    selection, _ = RadialAttention(decay=0.5, block=8).select(call, None)
    weights = (call.q @ call.k.mT * call.scale).softmax(-1)
    recall = float((weights * selection.mask.to_dense()).sum(-1).mean())
    assert selection.mask.density < 0.65
    assert recall > 0.99


@pytest.mark.parametrize("density", [0.3, 0.5, 0.8])
def test_the_decay_that_comes_closest_to_a_density_is_taken(density):
    call = make_call(VideoLayout.of(12, 8, 16, text_last=24))  # whole blocks: nothing is cut
    found = RadialAttention(density=density, block=8).select(call, None)[0].mask.density
    for octave in range(-40, 20):
        other = RadialAttention(decay=2 ** (octave / 4), block=8).select(call, None)[0].mask.density
        assert abs(found - density) <= abs(other - density) + 1e-9
    assert abs(found - density) < 0.04


def test_the_video_backwards_has_the_same_mask():
    call = make_call(VideoLayout.of(8, 6, 10))
    keep = RadialAttention(decay=0.5, block=SIDE).select(call, None)[0].mask.keep[0, 0]
    assert torch.equal(keep, keep.flip(0, 1))
    assert torch.equal(keep, keep.T)


def test_equal_calls_get_the_same_mask_object():
    method = RadialAttention(0.4, block=SIDE)
    first, second = (method.select(make_call(VideoLayout.of(9, 6, 10)), None)[0].mask for _ in range(2))
    assert first is second


def test_text_first_is_put_back_where_it_was():
    layout = LAYOUTS["text first"]
    call = make_call(layout)
    selection, _ = RadialAttention(decay=0.2, block=SIDE).select(call, None)
    output = attend_selected(call, selection).output
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    torch.testing.assert_close(output[:, :, :13], dense[:, :, :13])
    assert (output[:, :, 13:] - dense[:, :, 13:]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 0.0}, r"pairs to keep and must lie in \(0, 1\], got density=0.0"),
        ({"decay": 0.0}, "above 0, got decay=0.0"),
        ({"decay": math.inf}, "got decay=inf"),
        ({"decay": True}, "got decay=True"),
        ({"widths": "both"}, "widths must be 'paper' or 'official', got widths='both'"),
        ({"block": 0}, "at least 1, got block=0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        RadialAttention(**parameters)
