"""Figures: a sparse result against the dense one (attention, frames before any codec), and masks against the truth."""

from videosieve.metrics.attention import cosine, lse_error, recall, relative_l1, relative_l2, rmse
from videosieve.metrics.flicker import flicker_per_frame, temporal_flicker
from videosieve.metrics.ms_ssim import MsSsim, ms_ssim
from videosieve.metrics.segmentation import Counts, average_precision
from videosieve.metrics.video import Psnr, absolute_difference, psnr, ssim, ssim_per_frame

__all__ = [
    "Counts",
    "MsSsim",
    "Psnr",
    "absolute_difference",
    "average_precision",
    "cosine",
    "flicker_per_frame",
    "lse_error",
    "ms_ssim",
    "psnr",
    "recall",
    "relative_l1",
    "relative_l2",
    "rmse",
    "ssim",
    "ssim_per_frame",
    "temporal_flicker",
]
