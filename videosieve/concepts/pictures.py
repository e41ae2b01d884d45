"""Painted videos as files: an .mp4, or a .png with frames side by side."""

import math
from pathlib import Path

import numpy as np
from torch import Tensor

from videosieve.errors import OutputError
from videosieve.files.films import write_h264
from videosieve.frame_rate import check_fps

SHEET_FRAMES = 8
SMALLEST_SIDE = 128  # pixels; smaller frames are enlarged without smoothing
CRF = "14"  # of x264; visually lossless


def write_picture(frames: Tensor, path: Path) -> None:
    """Write up to `SHEET_FRAMES` frames, evenly spread, side by side as PNG.

    Args:
        frames: [frames, 3, height, width] in [0, 1].
        path: Where to.
    """
    from PIL import Image

    count = min(SHEET_FRAMES, len(frames))
    chosen = [round(i * (len(frames) - 1) / max(count - 1, 1)) for i in range(count)]
    Image.fromarray(np.concatenate(list(_enlarged(frames[chosen])), axis=1)).save(path, format="PNG")


def write_film(frames: Tensor, path: Path, fps: float) -> None:
    """Write an H.264 film.

    Args:
        frames: [frames, 3, height, width] in [0, 1].
        path: Where to; ends in .mp4.
        fps: Frames per second, in (0, 240].

    Raises:
        OutputError: fps is out of range, or imageio-ffmpeg is not installed.
        OSError: FFmpeg could not write all of it.
    """
    check_fps(fps)
    pictures = _enlarged(frames)
    height, width = (side - side % 2 for side in pictures.shape[1:3])  # yuv420p has no odd sides
    try:
        write_h264(np.ascontiguousarray(pictures[:, :height, :width]), path, fps, "-crf", CRF)
    except ImportError:
        raise OutputError(
            "writing .mp4 needs imageio-ffmpeg; pip install imageio-ffmpeg, or write a .png"
        ) from None


def _enlarged(frames: Tensor) -> np.ndarray:
    """uint8 [frames, height, width, 3]."""
    pictures = (frames.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    factor = max(1, math.ceil(SMALLEST_SIDE / min(pictures.shape[1:3])))
    return pictures.repeat(factor, axis=1).repeat(factor, axis=2)
