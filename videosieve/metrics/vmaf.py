"""VMAF by ffmpeg's libvmaf, from the binary that imageio-ffmpeg brings.

Netflix's VMAF (model vmaf_v0.6.1, built into libvmaf) predicts how viewers rate a 1080p video on a television, from 0
to 100. Frames are handed over uncompressed and turned into 8-bit yuv420p, which the model was fitted on. On frames much
smaller than 1080p the figure orders similar videos and means little in itself; the first frame of identical videos was
85 instead of 100 at 32 pixels.
"""

import json
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from videosieve.errors import MetricError, ShapeError
from videosieve.metrics.frames import unit_pair

SMALLEST = 20  # pixels; libvmaf crashes on 16


def vmaf(video: Tensor, reference: Tensor) -> Tensor:
    """VMAF of every frame, in [0, 100]; higher is better.

    Args:
        video: sRGB, float in [0, 1], or uint8 [frames, 3, height, width]; even sides of at least 20 pixels.
        reference: The same shape.

    Returns:
        fp64 [frames].

    Raises:
        ShapeError: The videos do not fit together, are not RGB, or have odd or too short sides.
        MetricError: There is no ffmpeg with libvmaf, or it failed.
    """
    x, y = unit_pair(video, reference)
    _, channels, height, width = x.shape
    if channels != 3 or height % 2 or width % 2 or min(height, width) < SMALLEST:
        raise ShapeError(
            f"VMAF needs RGB frames with even sides of at least {SMALLEST} pixels, got {list(x.shape)}"
        )
    if reason := why_no_vmaf():
        raise MetricError(f"VMAF is unavailable: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        raw = [
            "-f",
            "rawvideo",
            "-pixel_format",
            "rgb24",
            "-video_size",
            f"{width}x{height}",
            "-framerate",
            "24",
        ]
        inputs: list[str] = []
        for name, frames in (("video", x), ("reference", y)):
            pixels = (frames * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
            with Path(folder, name).open("wb") as file:
                file.writelines(bytes(frame.flatten().tolist()) for frame in pixels)
            inputs += [*raw, "-i", name]
        # The filter takes the distorted video first.
        graph = "[0:v]format=yuv420p[a];[1:v]format=yuv420p[b];[a][b]libvmaf=log_fmt=json:log_path=log.json:n_threads=1"
        command = [_ffmpeg(), "-v", "error", "-nostdin", *inputs, "-lavfi", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MetricError(f"ffmpeg's libvmaf failed: {' '.join(done.stderr.split())[-300:]}")
        frames = json.loads(Path(folder, "log.json").read_text())["frames"]
    return torch.tensor([frame["metrics"]["vmaf"] for frame in frames], dtype=torch.float64)


@lru_cache(maxsize=1)
def why_no_vmaf() -> str:
    """Why this machine cannot measure VMAF; empty where it can."""
    try:
        filters = subprocess.run([_ffmpeg(), "-filters"], capture_output=True, text=True, check=True).stdout
    except ImportError:
        return "imageio-ffmpeg is not installed (pip install imageio-ffmpeg)"
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return f"imageio-ffmpeg finds no ffmpeg that runs ({str(error).splitlines()[0]})"
    if not any(line.split()[1:2] == ["libvmaf"] for line in filters.splitlines()):
        return f"{_ffmpeg()} was built without libvmaf; IMAGEIO_FFMPEG_EXE may name one that has it"
    return ""


def _ffmpeg() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()
