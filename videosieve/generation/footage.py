"""Reads a video that is given: a video file, an animation, or a folder of pictures; and makes it fit a model."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from videosieve.errors import ModelError, ShapeError
from videosieve.files import entries, is_file, is_folder, open_picture

ANIMATIONS = (".gif", ".webp", ".png", ".apng")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MOST_FRAMES = 1024


def read_footage(path: Path, frames: int | None = None) -> Tensor:
    """Read a video.

    Args:
        path: A file that FFmpeg or Pillow decodes (.mp4, .mov, .webm, .gif, .webp, …), or a folder of pictures of one
            size, taken in the order of their names.
        frames: How many to read from the first; None reads all, at most `MOST_FRAMES`.

    Returns:
        fp32 [frames, 3, height, width] in [0, 1].

    Raises:
        ModelError: The path is missing or unreadable, holds no pictures or fewer than `frames`, or sizes differ.
    """
    if is_folder(path):
        source = _read_folder(path)
    elif is_file(path):
        source = _read_animation(path) if path.suffix.lower() in ANIMATIONS else _read_film(path)
    else:
        raise ModelError(f"{str(path)!r} does not exist; give a video file or a folder of pictures")
    pictures: list[np.ndarray] = []
    for picture in source:
        if pictures and picture.shape != pictures[0].shape:
            raise ModelError(
                f"all frames of {str(path)!r} must have one size; frame 0 has {_size(pictures[0])} pixels and "
                f"frame {len(pictures)} has {_size(picture)}"
            )
        if len(pictures) == MOST_FRAMES:
            raise ModelError(
                f"{str(path)!r} has more than {MOST_FRAMES} frames; say how many to read from the first (--frames)"
            )
        pictures.append(picture)
        if len(pictures) == frames:
            break
    if not pictures or len(pictures) < (frames or 1):
        raise ModelError(f"{str(path)!r} must hold at least {frames or 1} frames, got {len(pictures)}")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def read_picture(path: Path, height: int | None = None, width: int | None = None) -> Tensor:
    """Read a picture, scaled to a size whose middle is kept.

    Args:
        path: A file that Pillow decodes.
        height: Pixels; None keeps the picture's.
        width: Pixels, likewise.

    Returns:
        fp32 [3, height, width] in [0, 1].

    Raises:
        ModelError: It is missing or unreadable.
    """
    if not is_file(path):
        raise ModelError(f"{str(path)!r} does not exist; give a picture")
    picture = torch.from_numpy(next(_read_animation(path)).copy()).permute(2, 0, 1)[None].float() / 255
    rows, columns = (given or own for given, own in zip((height, width), picture.shape[2:], strict=True))
    return cover(picture, rows, columns)[0]


def fit_footage(
    pipe: Any, video: Tensor, height: int | None = None, width: int | None = None, *, whole: bool = False
) -> Tensor:
    """Scale a video to a size, cut what is too much, and refuse what a model cannot take.

    Args:
        pipe: A diffusers video pipeline.
        video: [frames, 3, height, width] in [0, 1].
        height: Pixels; None keeps the video's, or takes the only size that the bundled models are trained at.
        width: Pixels, likewise. Where the shape changes, the middle is cut out.
        whole: Refuse a number of frames that the VAE cannot pack, instead of leaving out the last ones.

    Returns:
        fp32 [frames, 3, height, width] in [0, 1].

    Raises:
        ShapeError: The sides or the number of frames do not fit; nearest ones are named.
    """
    from videosieve.integrations.diffusers.clips import frames_per_latent, pixels_per_latent

    trained = getattr(pipe.vae, "sample_size", None) if type(pipe).__name__ == "ShapesPipeline" else None
    rows, columns = (
        given or trained or own for given, own in zip((height, width), video.shape[2:], strict=True)
    )
    side = pixels_per_latent(pipe) * _patch(pipe)
    if rows % side or columns % side:
        near = [max(side, round(extent / side) * side) for extent in (rows, columns)]
        raise ShapeError(
            f"the sides of a video for {type(pipe).__name__} must be multiples of {side} pixels, got {columns} × "
            f"{rows}; "
            f"scale it with --height {near[0]} --width {near[1]}"
        )
    packed = frames_per_latent(pipe) or 1
    spare = (len(video) - 1) % packed
    if spare and whole:
        raise ShapeError(
            f"{type(pipe).__name__} takes {packed} × n + 1 frames, got {len(video)}; "
            f"give --frames {len(video) - spare}"
        )
    return cover(video[: len(video) - spare], rows, columns)


def _patch(pipe: Any) -> int:
    config: Any = getattr(pipe.transformer, "config", {})
    patch = config.get("patch_size", 1)
    return (
        1
        if type(pipe).__name__ == "ShapesPipeline"
        else patch[-1]
        if isinstance(patch, (list, tuple))
        else patch
    )


def cover(video: Tensor, rows: int, columns: int) -> Tensor:
    """A video [frames, 3, height, width] scaled so that it covers rows × columns, of which the middle is kept."""
    height, width = video.shape[2:]
    if (height, width) == (rows, columns):
        return video
    factor = max(rows / height, columns / width)
    size = max(rows, round(height * factor)), max(columns, round(width * factor))
    if size != (height, width):
        whole = height % size[0] == 0 and width % size[1] == 0
        options: dict[str, Any] = {"mode": "area"} if whole else {"mode": "bicubic", "antialias": True}
        video = interpolate(video, size=size, **options).clamp(0, 1)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    return video[..., top : top + rows, left : left + columns].contiguous()


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} × {picture.shape[0]}"


def _read_folder(path: Path) -> Iterator[np.ndarray]:
    files = [file for file in entries(path, ModelError) if file.suffix.lower() in PICTURES]
    if not files:
        raise ModelError(f"the folder {str(path)!r} holds no pictures ({', '.join(PICTURES)})")
    for file in files:
        yield next(_read_animation(file))


def _read_animation(path: Path) -> Iterator[np.ndarray]:
    from PIL import ImageSequence

    with open_picture(path, "the video", ModelError) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGB"))


def _read_film(path: Path) -> Iterator[np.ndarray]:
    """Frames from FFmpeg, each as a PPM picture: it says its own size, rotation included."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path)]
    command += ["-an", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        try:
            frames = 0
            while (picture := _read_ppm(process.stdout)) is not None:
                frames += 1
                yield picture
        finally:
            process.kill()  # a caller that has enough frames stops listening
        if not frames:
            complaints.seek(0)
            reason = " ".join(complaints.read().decode(errors="replace").split())[-200:] or "it has no frames"
            raise ModelError(f"FFmpeg cannot read {str(path)!r} as a video: {reason}")


def _read_ppm(stream: Any) -> np.ndarray | None:
    if stream.readline() != b"P6\n":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()  # the largest value, 255
    pixels = stream.read(width * height * 3)
    whole = len(pixels) == width * height * 3
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3) if whole else None
