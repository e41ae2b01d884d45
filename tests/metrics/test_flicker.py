"""Temporal flicker against VBench's formula on 8-bit frames, and its invariances."""

import numpy as np
import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import flicker_per_frame, temporal_flicker


def make_video(frames: int = 5) -> torch.Tensor:
    return torch.randint(
        0, 256, (frames, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_flicker_is_vbenchs_formula():
    images = make_video().numpy().astype(np.float32)
    errors = [np.mean(np.abs(images[i] - images[i + 1])) for i in range(len(images) - 1)]
    assert temporal_flicker(make_video()) == pytest.approx((255 - float(np.mean(errors))) / 255, abs=1e-6)
    np.testing.assert_allclose(flicker_per_frame(make_video()), 1 - np.array(errors) / 255, atol=1e-6)


def test_floats_are_the_same_frames_in_unit_range():
    assert temporal_flicker(make_video().double() / 255) == pytest.approx(temporal_flicker(make_video()))


def test_a_frozen_video_is_perfectly_steady_and_a_strobe_not_at_all():
    still = make_video(1).expand(4, -1, -1, -1)
    assert temporal_flicker(still) == 1
    strobe = torch.zeros(4, 3, 2, 2)
    strobe[1::2] = 1
    assert temporal_flicker(strobe) == 0


def test_played_backwards_it_flickers_as_much():
    assert temporal_flicker(make_video().flip(0)) == pytest.approx(temporal_flicker(make_video()))


def test_one_frame_has_no_flicker():
    with pytest.raises(ShapeError, match=r"at least 2 frames, got \[1, 3, 6, 7\]"):
        temporal_flicker(make_video(1))
