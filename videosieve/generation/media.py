"""Writes frames as files that people can watch: .mp4, .gif, .webp, and a poster .png.

Every file appears when it is whole, so an interrupted run leaves no broken one.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from videosieve.errors import OutputError, ShapeError
from videosieve.fields import In
from videosieve.files import check_name, check_writable, exists, is_folder, reason_of, whole_file
from videosieve.files.films import write_h264
from videosieve.frame_rate import check_fps

Fps = Annotated[float, In("(0, 240]")]
VIDEO_SUFFIXES = (".mp4", ".gif", ".webp")
SMALLEST_SIDE = 256  # pixels; smaller frames are enlarged so that people can see them
CRF = "14"  # x264 quality, 0 lossless to 51 worst; 14 is visually lossless


def check_output(
    path: str | Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES, *, overwrite: bool = True
) -> Path:
    """Refuse an output file before anything expensive happens.

    Args:
        path: Where the file is going to be.
        suffixes: The endings that can be written.
        overwrite: False refuses a file that exists.

    Returns:
        The path.

    Raises:
        OutputError: Unknown ending, missing or unwritable folder, a folder in the way, or a file that exists.
    """
    path = Path(path)
    check_name(path)
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"output must end in {', '.join(suffixes)}; got {str(path)!r}")
    if not is_folder(path.parent):
        raise OutputError(
            f"the folder {str(path.parent)!r} does not exist; make it first or choose another output"
        )
    if is_folder(path):
        raise OutputError(f"{str(path)!r} is a folder; give a file name inside it")
    if exists(path) and not overwrite:
        raise OutputError(f"{str(path)!r} exists; choose another name or allow overwriting (--overwrite)")
    check_writable(path.parent)
    return path


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents; raise an OutputError if that or writing in it is not possible."""
    check_name(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot make {str(folder)!r}: {reason_of(error)}; choose another output") from None
    check_writable(folder)


@contextmanager
def folder_for_results(folder: Path) -> Iterator[None]:
    """Make a folder as `make_folder` does; an error before anything lies in it takes away what was made."""
    check_name(folder)
    made = [one for one in (folder, *folder.parents) if not exists(one)]
    make_folder(folder)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something lies in it
            for one in made:
                one.rmdir()
        raise


def write_video(frames: Tensor, path: Path, fps: float) -> None:
    """Write a video in the format its ending names; .gif and .webp loop.

    Args:
        frames: Float in [0, 1], or uint8 [frames, 3, height, width].
        path: Ends in .mp4 (H.264, yuv420p), .gif or .webp.
        fps: Frames per second, above 0.

    Raises:
        OutputError: Unknown ending, or the system refused to write.
        ShapeError: The frames are not RGB.
    """
    check_fps(fps)
    pictures = to_pictures(frames)
    writers = {".mp4": _write_mp4, ".gif": _write_pillow, ".webp": _write_pillow}
    suffix = path.suffix.lower()
    if suffix not in writers:
        raise OutputError(f"output must end in {', '.join(writers)}; got {str(path)!r}")
    with whole_file(path) as temporary:
        writers[suffix](pictures, temporary, fps)


def write_poster(frames: Tensor, path: Path) -> None:
    """Write the middle frame as PNG.

    Args:
        frames: Float in [0, 1], or uint8 [frames, 3, height, width].
        path: Where to.

    Raises:
        OutputError: The system refused to write.
        ShapeError: The frames are not RGB.
    """
    from PIL import Image

    middle = frames.shape[0] // 2
    picture = to_pictures(frames[middle : middle + 1])[0]
    with whole_file(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def to_pictures(frames: Tensor) -> np.ndarray:
    """Frames as pictures for an encoder: uint8, even sides, tiny frames enlarged without smoothing.

    Args:
        frames: Float in [0, 1], or uint8 [frames, 3, height, width].

    Returns:
        uint8 [frames, height, width, 3] with even sides of at least 256 pixels; odd sides repeat their last line.

    Raises:
        ShapeError: The frames are not RGB.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise ShapeError(
            f"frames must be [frames, 3, height, width], none of them 0; got {list(frames.shape)}"
        )
    if frames.dtype != torch.uint8:
        frames = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()
    factor = max(1, math.ceil(SMALLEST_SIDE / min(pictures.shape[1:3])))
    pictures = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    odd = [(0, side % 2) for side in pictures.shape[1:3]]
    return np.ascontiguousarray(np.pad(pictures, ((0, 0), *odd, (0, 0)), mode="edge"))


def _write_mp4(pictures: np.ndarray, path: Path, fps: float) -> None:
    write_h264(pictures, path, fps, "-crf", CRF, "-preset", "medium")


def _write_pillow(pictures: np.ndarray, path: Path, fps: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in pictures)
    options: dict[str, Any] = {"quality": 90} if path.suffix.lower() == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **options)
