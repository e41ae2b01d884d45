"""What the video metrics share: input checks, fp64 frames in [0, 1], and the Gaussian window of SSIM."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from videosieve.errors import ShapeError

WINDOW = 11  # pixels
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03


def unit_frames(video: Tensor, name: str = "video") -> Tensor:
    """fp64 in [0, 1] [frames, channels, height, width]; uint8 is cast before anything is subtracted.

    Raises:
        ShapeError: The video has another number of axes, an empty one, or is neither float nor uint8.
    """
    if video.ndim != 4 or 0 in video.shape:
        raise ShapeError(
            f"{name} must be [frames, channels, height, width], none of them 0; got {list(video.shape)}"
        )
    if video.dtype == torch.uint8:
        return video.double() / 255
    if not video.is_floating_point():
        raise ShapeError(f"{name} must be float in [0, 1] or uint8, got {video.dtype}")
    return video.double()


def unit_pair(video: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both videos as `unit_frames`.

    Raises:
        ShapeError: The shapes differ, or as `unit_frames`.
    """
    if video.shape != reference.shape:
        raise ShapeError(
            f"both videos must have one shape, got {list(video.shape)} and {list(reference.shape)}"
        )
    return unit_frames(video), unit_frames(reference, "reference")


def ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at every window inside the frame: luminance, and contrast times structure.

    Args:
        x: fp64 in [0, 1] [frames, channels, height, width]; sides of at least 11 pixels.
        y: The same shape.

    Returns:
        Two tensors [frames, channels, windows].
    """
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x.square()
    variance_y = _blur(y * y) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return luminance, structure


def _blur(x: Tensor) -> Tensor:
    """Gaussian mean over every 11 × 11 window that lies inside the frame."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = (-offsets.square() / (2 * SIGMA**2)).exp()
    weights = weights / weights.sum()
    flat = x.flatten(0, 1).unsqueeze(1)
    return conv2d(conv2d(flat, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1)).view(*x.shape[:2], -1)
