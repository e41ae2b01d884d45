"""PSNR and SSIM of decoded frames, measured before any codec.

Inputs are float [frames, channels, height, width] in [0, 1]; uint8 is cast first, so nothing wraps around. Never
measure after an mp4: x264 at CRF 18 alone costs about 36 dB.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from videosieve.errors import ShapeError

CAP = 100.0  # dB, given to identical frames, as in most published code
WINDOW = 11  # pixels
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03


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
    _same_shape(video, reference)
    error = (_unit(video, "video") - _unit(reference, "reference")).square()
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
    _same_shape(video, reference)
    x, y = _unit(video, "video"), _unit(reference, "reference")
    if min(x.shape[-2:]) < WINDOW:
        raise ShapeError(f"SSIM needs frames of at least {WINDOW} × {WINDOW} pixels, got {list(x.shape)}")
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x.square()
    variance_y = _blur(y * y) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
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
    _same_shape(video, reference)
    return ((_unit(video, "video") - _unit(reference, "reference")).abs() * gain).clamp(0, 1).float()


def _unit(video: Tensor, name: str) -> Tensor:
    if video.ndim != 4 or 0 in video.shape:
        raise ShapeError(
            f"{name} must be [frames, channels, height, width], none of them 0; got {list(video.shape)}"
        )
    if video.dtype == torch.uint8:
        return video.double() / 255
    if not video.is_floating_point():
        raise ShapeError(f"{name} must be float in [0, 1] or uint8, got {video.dtype}")
    return video.double()


def _same_shape(video: Tensor, reference: Tensor) -> None:
    if video.shape != reference.shape:
        raise ShapeError(
            f"both videos must have one shape, got {list(video.shape)} and {list(reference.shape)}"
        )


def _decibels(mse: float) -> float:
    return CAP if mse <= 10 ** (-CAP / 10) else -10 * math.log10(mse)


def _blur(x: Tensor) -> Tensor:
    """Gaussian mean over every 11 × 11 window that lies inside the frame."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = (-offsets.square() / (2 * SIGMA**2)).exp()
    weights = weights / weights.sum()
    flat = x.flatten(0, 1).unsqueeze(1)
    return conv2d(conv2d(flat, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1)).view(
        *x.shape[:2], -1, 1
    )
