"""PSNR and SSIM against skimage and against formulas written out."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from videosieve.errors import ShapeError
from videosieve.metrics import absolute_difference, psnr, ssim, ssim_per_frame, ssim_uniform_per_frame


def make_pair(frames: int = 3, side: int = 32, noise: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(frames, 3, side, side, generator=generator)
    noisy = (reference + noise * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
    return noisy, reference


def skimage_ssim(video: torch.Tensor, reference: torch.Tensor) -> float:
    return structural_similarity(
        video.double().numpy(),
        reference.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=0,
    )


@pytest.mark.parametrize("side", [11, 32, 61])
def test_ssim_agrees_with_skimage(side: int):
    video, reference = make_pair(side=side)
    expected = [skimage_ssim(a, b) for a, b in zip(video, reference, strict=True)]
    np.testing.assert_allclose(ssim_per_frame(video, reference).numpy(), expected, atol=1e-6)
    assert ssim(video, reference) == pytest.approx(float(np.mean(expected)), abs=1e-6)


def test_ssim_of_a_brighter_video_agrees_with_skimage():
    _, reference = make_pair()
    brighter = (reference * 0.8 + 0.1).clamp(0, 1)
    assert ssim(brighter[:1], reference[:1]) == pytest.approx(
        skimage_ssim(brighter[0], reference[0]), abs=1e-6
    )


@pytest.mark.parametrize("side", [11, 24])
def test_uniform_ssim_is_the_mean_over_windows_of_equal_weight_on_a_frame_of_zeros_around(side: int):
    video, reference = (
        torch.rand(2, 3, side, side + 3, generator=torch.Generator().manual_seed(i)) for i in (1, 2)
    )
    found = ssim_uniform_per_frame(video, reference)
    x, y = (
        torch.nn.functional.pad(v.double(), (5, 5, 5, 5)).unfold(2, 11, 1).unfold(3, 11, 1)
        for v in (video, reference)
    )
    mean_x, mean_y = x.mean((-1, -2)), y.mean((-1, -2))
    spread_x, spread_y = x.var((-1, -2), correction=0), y.var((-1, -2), correction=0)
    joint = ((x - mean_x[..., None, None]) * (y - mean_y[..., None, None])).mean((-1, -2))
    expected = (
        (2 * mean_x * mean_y + 1e-4)
        * (2 * joint + 9e-4)
        / (mean_x**2 + mean_y**2 + 1e-4)
        / (spread_x + spread_y + 9e-4)
    )
    torch.testing.assert_close(found, expected.mean((1, 2, 3)))
    assert ssim_uniform_per_frame(video, video).tolist() == pytest.approx([1.0, 1.0])
    assert (
        found - ssim_per_frame(video, reference)
    ).abs().min() > 1e-3  # another measure, under another name


def test_psnr_agrees_with_skimage_per_frame():
    video, reference = make_pair()
    expected = [
        peak_signal_noise_ratio(b.double().numpy(), a.double().numpy(), data_range=1.0)
        for a, b in zip(video, reference, strict=True)
    ]
    result = psnr(video, reference)
    np.testing.assert_allclose(result.frames, expected, rtol=1e-9)
    assert result.mean == pytest.approx(float(np.mean(expected)))
    assert result.worst == pytest.approx(min(expected))


def test_one_bad_frame_lowers_the_pooled_psnr_more_than_the_mean():
    video, reference = make_pair(frames=10, noise=0.001)
    video[4] = 1 - reference[4]
    result = psnr(video, reference)
    pooled = 10 * math.log10(1 / (video.double() - reference.double()).square().mean().item())
    assert result.pooled == pytest.approx(pooled)
    assert result.worst == result.frames[4]
    assert result.pooled < result.mean - 8


def test_identical_videos_get_100_decibels_and_similarity_one():
    _, reference = make_pair()
    result = psnr(reference, reference)
    assert (result.mean, result.pooled, result.worst) == (100.0, 100.0, 100.0)
    assert ssim(reference, reference) == pytest.approx(1.0)


def test_uint8_is_cast_before_subtracting():
    dark, bright = (torch.full((1, 3, 16, 16), value, dtype=torch.uint8) for value in (0, 255))
    assert psnr(dark, bright).mean == pytest.approx(0.0)
    video, reference = ((x * 255).round().to(torch.uint8) for x in make_pair())
    assert psnr(video, reference).mean == pytest.approx(psnr(video / 255, reference / 255).mean, abs=1e-4)


def test_difference_is_amplified_and_clipped():
    video, reference = torch.full((1, 3, 2, 2), 0.6), torch.full((1, 3, 2, 2), 0.5)
    torch.testing.assert_close(absolute_difference(video, reference), torch.full((1, 3, 2, 2), 0.4))
    assert absolute_difference(video, reference, gain=100).max() == 1


@pytest.mark.parametrize(
    ("video", "reference", "message"),
    [
        (torch.rand(2, 3, 16, 16), torch.rand(1, 3, 16, 16), "one shape"),
        (torch.rand(3, 16, 16), torch.rand(3, 16, 16), r"\[frames, channels, height, width\]"),
        (torch.rand(0, 3, 16, 16), torch.rand(0, 3, 16, 16), "none of them 0"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.int64), torch.zeros(1, 3, 16, 16, dtype=torch.int64), "uint8"),
    ],
)
def test_videos_that_do_not_fit_are_refused(video: torch.Tensor, reference: torch.Tensor, message: str):
    for metric in (psnr, ssim, absolute_difference):
        with pytest.raises(ShapeError, match=message):
            metric(video, reference)


def test_ssim_needs_a_whole_window():
    with pytest.raises(ShapeError, match="at least 11"):
        ssim(torch.rand(1, 3, 10, 32), torch.rand(1, 3, 10, 32))
