"""Films as H.264 in an .mp4, by the FFmpeg that imageio-ffmpeg brings."""

import errno
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def write_h264(pictures: "np.ndarray", path: Path, fps: float, *options: str) -> None:
    """Write pictures as a film; FFmpeg has ended well when this returns.

    Args:
        pictures: uint8 [frames, height, width, 3], sides even.
        path: Where to; ends in .mp4.
        fps: Frames per second.
        *options: Further options of FFmpeg for the output.

    Raises:
        ImportError: imageio-ffmpeg is not installed.
        OSError: FFmpeg could not write all of it (disk full), or cannot be run.
    """
    import imageio_ffmpeg

    _, height, width, _ = pictures.shape
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.02f}", "-i", "-"]
    wanted = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", *options, "-movflags", "+faststart"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *given, *wanted, str(path)]
    with (
        tempfile.TemporaryFile() as complaints,
        # in a session of its own: Ctrl-C is for us
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,
        ) as process,
    ):
        _hand_over(pictures, process)
        if process.returncode:
            complaints.seek(0)
            raise _as_os_error(process.returncode, complaints.read().decode(errors="replace"))


def _hand_over(pictures: "np.ndarray", process: "subprocess.Popen[bytes]") -> None:
    pipe = process.stdin
    if pipe is None:
        raise OSError("FFmpeg has no pipe")
    try:
        with suppress(BrokenPipeError):  # it gave up, and its code says why
            for picture in pictures:
                pipe.write(picture.tobytes())
            pipe.close()
        process.wait()
    finally:
        process.kill()
        with suppress(BrokenPipeError):
            pipe.close()


def _as_os_error(code: int, complaints: str) -> OSError:
    number = errno.EFBIG if code == -getattr(signal, "SIGXFSZ", 0) else 0
    number = errno.ENOSPC if os.strerror(errno.ENOSPC) in complaints else number
    if number:
        return OSError(number, os.strerror(number))
    said = " ".join(complaints.split())[-200:] or f"it ended with code {code}"
    return OSError(f"FFmpeg did not finish: {said}")
