"""LVSA: anchors, windows and their distance as the paper and the authors' code have them; the pattern in tokens."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import RecipeError, Site, VideoLayout
from videosieve.methods import Lvsa, attend_selected
from videosieve.methods.lvsa import anchor_distance, anchors, frame_pattern, window_of
from videosieve.testing.factories import make_call


def test_anchors_are_the_first_frames_and_a_grid_that_moves_on_with_the_step():
    assert anchors(10, 1, 4, 0) == {0, 4, 8}
    assert anchors(10, 1, 4, 1) == {0, 1, 5, 9}
    assert anchors(10, 1, 4, 3) == {0, 3, 7, 1}  # 11 goes round the end
    assert anchors(10, 2, 4, 2) == {0, 1, 2, 6}


@pytest.mark.parametrize(("frames", "apart"), [(41, 4), (33, 5), (12, 12)])
def test_every_frame_is_an_anchor_once_in_a_turn(frames, apart):
    seen = set()
    for shift in range(apart):
        seen |= anchors(frames, 0, apart, shift)
    assert seen == set(range(frames))


@pytest.mark.parametrize("shift", range(5))
def test_a_frame_attends_to_its_window_of_frames_that_are_no_anchors(shift):
    frames, window = 30, 3
    anchored = anchors(frames, 1, 5, shift)
    for frame in range(frames):
        near = window_of(frame, frames, window, anchored)
        others = [other for other in near if other not in anchored]
        assert len(others) == 2 * window + 1
        assert frame in near
        # It reaches no further than it must: without an end it would hold too few.
        assert (near[0] not in anchored) or (near[-1] not in anchored)
    counts = frame_pattern(frames, window, 1, 5, shift).sum(-1)
    assert (counts == len(anchored) + 2 * window + 1).all()


def test_the_pattern_written_out():
    """Seven frames, a window of one frame on either side, anchors 0 and 3: by hand."""
    rows = frame_pattern(7, 1, 1, 3, 0).int().tolist()
    assert anchors(7, 1, 3, 0) == {0, 3, 6}
    assert rows[1] == [1, 1, 1, 1, 1, 0, 1]  # 1 and 2, then beyond anchor 3: frame 4
    assert rows[5] == [1, 0, 1, 1, 1, 1, 1]  # 4 and 5, then beyond anchor 3: frame 2
    assert frame_pattern(7, 0, 1, 3, 0).int().tolist() == [[1, 0, 0, 1, 0, 0, 1]] * 7


@pytest.mark.parametrize(
    ("frames", "reference", "apart"),
    [(21, 21, 1), (20, 21, 1), (41, 21, 3), (121, 21, 9), (65, 33, 3), (1, 21, 1)],
)
def test_anchors_lie_apart_as_the_authors_code_puts_them(frames, reference, apart):
    """Worked out by hand from `compute_auto_kfi` with W = 3 and one first frame: the larger of its two rules."""
    assert anchor_distance(frames, 3, 1, reference) == apart


@pytest.mark.parametrize("layout", [VideoLayout.of(9, 3, 5), VideoLayout.of(9, 3, 5, text_last=7)], ids=str)
@pytest.mark.parametrize("step", [0, 3])
def test_tokens_attend_by_their_frames_and_text_to_all(layout, step):
    call = make_call(layout, batch=2, site=Site(0, 1, step, 20))
    method = Lvsa(window=1, reference_frames=5, block=4)
    selection, _ = method.select(call, None)
    apart = anchor_distance(9, 1, 1, 5)
    assert apart > 1
    frame = torch.full((layout.tokens,), -1)
    frame[layout.video] = torch.arange(9).repeat_interleave(15)
    keep = frame_pattern(9, 1, 1, apart, step % apart)[frame][:, frame]
    keep = keep | (frame < 0) | (frame < 0)[:, None]
    assert not keep.all()
    expected = scaled_dot_product_attention(call.q, call.k, call.v, attn_mask=keep)
    torch.testing.assert_close(attend_selected(call, selection).output, expected, atol=1e-5, rtol=1e-4)


def test_a_density_stands_for_the_reference_and_one_is_dense():
    call = make_call(VideoLayout.of(20, 2, 4))
    densities = [float(Lvsa(1, density=d).select(call, None)[0].mask.density) for d in (0.2, 0.5, 1.0)]
    assert densities == sorted(densities)
    assert densities[0] < 0.35
    assert densities[-1] == 1
    output = attend_selected(call, Lvsa(density=1.0).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": -1}, "window must be a whole number >= 0"),
        ({"reference_frames": 0}, "reference_frames must be a whole number >= 1"),
        ({"density": 0.0}, "got density=0.0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        Lvsa(**parameters)
