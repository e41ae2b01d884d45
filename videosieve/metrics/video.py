"""PSNR and SSIM of decoded frames, measured before any codec.

Inputs are float [frames, channels, height, width] in [0, 1]; uint8 is cast first, so nothing wraps around. Never
measure after an mp4: x264 at CRF 18 alone costs about 36 dB.
"""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool2d

from videosieve.errors import ShapeError
from videosieve.metrics.frames import K1, K2, WINDOW, ssim_terms, unit_pair

CAP = 100.0  # dB, given to identical frames, as in most published code


@dataclass(frozen=True, slots=True)
class Psnr:
    """Peak signal-to-noise ratio of a video, dB.

    Attributes:
        frames: PSNR of every frame, each capped at 100 dB.
        mean: Mean over the frames.
        pooled: PSNR of the mean squared error of the whole video; one bad frame pulls it down more than the mean.
        worst: The lowest frame.
    """

    frames: tuple[float, ...]
    mean: float
    pooled: float
    worst: float


def psnr(video: Tensor, reference: Tensor) -> Psnr:
    """Peak signal-to-noise ratio against a reference, peak 1.0.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape.

    Returns:
        Per frame, mean, pooled and worst, dB, capped at 100.

    Raises:
        ShapeError: The videos differ in shape, or are neither float nor uint8.
    """
    x, y = unit_pair(video, reference)
    error = (x - y).square()
    frames = tuple(_decibels(mse) for mse in error.mean((1, 2, 3)).tolist())
    return Psnr(frames, sum(frames) / len(frames), _decibels(error.mean().item()), min(frames))


def ssim(video: Tensor, reference: Tensor) -> float:
    """Structural similarity, mean over frames, channels and the valid region; 1 for identical videos.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape.

    Returns:
        Mean SSIM, at most 1.

    Raises:
        ShapeError: As `ssim_per_frame`.
    """
    return ssim_per_frame(video, reference).mean().item()


def ssim_per_frame(video: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity of every frame (Wang et al., 2004).

    Gaussian 11 × 11 window of σ 1.5, K1 0.01 and K2 0.03, population covariance, per channel, valid region only.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width]; at least 11 pixels on each side.
        reference: The same shape.

    Returns:
        fp64 [frames].

    Raises:
        ShapeError: The videos differ in shape, are neither float nor uint8, or are smaller than the window.
    """
    x, y = unit_pair(video, reference)
    if min(x.shape[-2:]) < WINDOW:
        raise ShapeError(f"SSIM needs frames of at least {WINDOW} × {WINDOW} pixels, got {list(x.shape)}")
    luminance, structure = ssim_terms(x, y)
    return (luminance * structure).mean((1, 2))


def ssim_uniform_per_frame(video: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity as Sparse VideoGen's code computes it, to compare with figures that were published with it.

    A uniform 11 × 11 window in place of the Gaussian one, and a border of five zeros around the frame, whose windows
    count too (svg/utils/metric.py of svg-project/Sparse-VideoGen). It differs from `ssim_per_frame` by up to several
    hundredths on small frames; never compare one with the other.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape.

    Returns:
        fp64 [frames].

    Raises:
        ShapeError: The videos differ in shape, or are neither float nor uint8.
    """
    x, y = unit_pair(video, reference)

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(values, WINDOW, stride=1, padding=WINDOW // 2)

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x.square(), mean(y * y) - mean_y.square()
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return (luminance * structure).mean((1, 2, 3))


def absolute_difference(video: Tensor, reference: Tensor, gain: float = 4.0) -> Tensor:
    """|video − reference| × gain, for looking at: black where nothing changed.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape.
        gain: Factor before clipping at 1.

    Returns:
        fp32 in [0, 1], the same shape.

    Raises:
        ShapeError: The videos differ in shape, or are neither float nor uint8.
    """
    x, y = unit_pair(video, reference)
    return ((x - y).abs() * gain).clamp(0, 1).float()


def _decibels(mse: float) -> float:
    return CAP if mse <= 10 ** (-CAP / 10) else -10 * math.log10(mse)
