"""Figures: a sparse result against the dense one (attention, frames before any codec), and masks against the truth."""

from videosieve.metrics.attention import cosine, recall, relative_l1, rmse
from videosieve.metrics.segmentation import Counts, average_precision
from videosieve.metrics.video import Psnr, absolute_difference, psnr, ssim, ssim_per_frame

__all__ = [
    "Counts",
    "Psnr",
    "absolute_difference",
    "average_precision",
    "cosine",
    "psnr",
    "recall",
    "relative_l1",
    "rmse",
    "ssim",
    "ssim_per_frame",
]
