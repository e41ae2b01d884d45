"""Figures: a sparse result against the dense one (attention, frames before any codec), and masks against the truth."""

from videosieve.metrics.attention import cosine, lse_error, recall, relative_l1, relative_l2, rmse
from videosieve.metrics.flicker import flicker_per_frame, temporal_flicker
from videosieve.metrics.flip import flip, heat_map
from videosieve.metrics.lpips import lpips, st_lpips
from videosieve.metrics.ms_ssim import MsSsim, ms_ssim
from videosieve.metrics.registry import METRICS, Measurement, Metric, available_metrics, measure
from videosieve.metrics.segmentation import Counts, average_precision
from videosieve.metrics.video import (
    Psnr,
    absolute_difference,
    psnr,
    ssim,
    ssim_per_frame,
    ssim_uniform_per_frame,
)
from videosieve.metrics.vmaf import vmaf
from videosieve.metrics.weights import MetricFiles

__all__ = [
    "METRICS",
    "Counts",
    "Measurement",
    "Metric",
    "MetricFiles",
    "MsSsim",
    "Psnr",
    "absolute_difference",
    "available_metrics",
    "average_precision",
    "cosine",
    "flicker_per_frame",
    "flip",
    "heat_map",
    "lpips",
    "lse_error",
    "measure",
    "ms_ssim",
    "psnr",
    "recall",
    "relative_l1",
    "relative_l2",
    "rmse",
    "ssim",
    "ssim_per_frame",
    "ssim_uniform_per_frame",
    "st_lpips",
    "temporal_flicker",
    "vmaf",
]
