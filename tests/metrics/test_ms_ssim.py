"""MS-SSIM against the formula written as loops over pixels, its scale rule and its limits."""

import math

import numpy as np
import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import ms_ssim, ssim_per_frame

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def make_pair(side: int, frames: int = 2, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(frames, 3, side // 8 + 1, side // 8 + 1, generator=generator)
    reference = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    noisy = (reference + noise * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
    return noisy, reference


def window() -> np.ndarray:
    weights = np.array(
        [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    )
    return weights / weights.sum()


def terms_by_loops(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean of l·c·s and of c·s over every window of one channel."""
    weights, full, structure = window(), [], []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            structure.append((2 * covariance + 0.03**2) / (variance_a + variance_b + 0.03**2))
            full.append(structure[-1] * (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2))
    return float(np.mean(full)), float(np.mean(structure))


def halve(x: np.ndarray) -> np.ndarray:
    rows, columns = x.shape[0] // 2, x.shape[1] // 2
    return np.array(
        [[x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(columns)] for i in range(rows)]
    )


def ms_ssim_by_loops(x: np.ndarray, y: np.ndarray, scales: int) -> float:
    weights, result = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales]), 1.0
    for scale in range(scales):
        full, structure = terms_by_loops(x, y)
        result *= max(full if scale == scales - 1 else structure, 0.0) ** weights[scale]
        x, y = halve(x), halve(y)
    return float(result)


@pytest.mark.parametrize(("side", "scales"), [(32, 2), (47, 3)])
def test_ms_ssim_is_the_formula(side: int, scales: int):
    video, reference = make_pair(side)
    result = ms_ssim(video, reference)
    assert result.scales == scales
    for frame in range(2):
        expected = np.mean(
            [
                ms_ssim_by_loops(a.double().numpy(), b.double().numpy(), scales)
                for a, b in zip(video[frame], reference[frame], strict=True)
            ]
        )
        assert result.frames[frame] == pytest.approx(expected, abs=1e-12)
    assert result.mean == pytest.approx(np.mean(result.frames))


@pytest.mark.parametrize(
    ("side", "scales"), [(22, 2), (43, 2), (44, 3), (64, 3), (88, 4), (175, 4), (176, 5)]
)
def test_as_many_scales_as_hold_a_window(side: int, scales: int):
    video = torch.rand(1, 1, side, side + 3, generator=torch.Generator().manual_seed(0))
    assert ms_ssim(video, video).scales == scales


def test_identical_videos_get_one_and_more_noise_less():
    _, reference = make_pair(44)
    assert ms_ssim(reference, reference).mean == pytest.approx(1)
    means = [ms_ssim(make_pair(44, noise=noise)[0], reference).mean for noise in (0.02, 0.1, 0.3)]
    assert 1 > means[0] > means[1] > means[2] > 0


def test_brightness_counts_at_the_coarsest_scale_alone():
    """A constant offset leaves every structure term alone, so l of the coarsest scale to its weight remains."""
    dark, bright = torch.full((1, 1, 44, 44), 0.25).double(), torch.full((1, 1, 44, 44), 0.5).double()
    luminance = (2 * 0.25 * 0.5 + 1e-4) / (0.25**2 + 0.5**2 + 1e-4)
    expected = luminance ** (WEIGHTS[2] / sum(WEIGHTS[:3]))
    assert ms_ssim(bright, dark).mean == pytest.approx(expected, abs=1e-12)


def test_a_negative_of_a_texture_scores_zero_and_not_nan():
    video = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert ms_ssim(1 - video, video).mean == 0


def test_frames_do_not_see_each_other():
    video, reference = make_pair(44, frames=3)
    alone = [ms_ssim(video[i : i + 1], reference[i : i + 1]).mean for i in range(3)]
    assert list(ms_ssim(video, reference).frames) == pytest.approx(alone)
    assert not torch.allclose(ssim_per_frame(video, reference), torch.tensor(alone).double(), atol=1e-3)


@pytest.mark.parametrize(("side", "scales"), [(21, None), (32, 3), (32, 1), (200, 6), (64, 0)])
def test_scales_that_do_not_fit_are_refused(side: int, scales: int | None):
    video = torch.rand(1, 3, side, side)
    with pytest.raises(ShapeError, match=r"needs 2 to 5 scales .* holds \d"):
        ms_ssim(video, video, scales)
