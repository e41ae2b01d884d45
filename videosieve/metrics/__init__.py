"""How far a sparse result is from the dense one: attention outputs, and decoded frames before any codec."""

from videosieve.metrics.attention import cosine, recall, relative_l1, rmse
from videosieve.metrics.video import Psnr, absolute_difference, psnr, ssim, ssim_per_frame

__all__ = [
    "Psnr",
    "absolute_difference",
    "cosine",
    "psnr",
    "recall",
    "relative_l1",
    "rmse",
    "ssim",
    "ssim_per_frame",
]
