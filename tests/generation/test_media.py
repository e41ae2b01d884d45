"""Video files: what a decoder reads back, and every reason to refuse an output."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from videosieve.errors import OutputError, ShapeError
from videosieve.generation import media


def gradient(frames: int = 5, height: int = 32, width: int = 32) -> torch.Tensor:
    video = torch.linspace(0, 1, width).expand(frames, 3, height, width).clone()
    return video * torch.linspace(0.5, 1, frames).view(-1, 1, 1, 1)


def run_ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", *arguments], capture_output=True, check=False
    )


def test_an_mp4_holds_the_frames(tmp_path: Path):
    path = tmp_path / "video.mp4"
    media.write_video(gradient(), path, fps=8)
    facts = run_ffmpeg("-i", str(path)).stderr.decode()
    assert re.search(r"h264.*yuv420p.*256x256.* 8 fps", facts)
    raw = run_ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-").stdout
    frames = np.frombuffer(raw, np.uint8).reshape(5, 256, 256, 3)
    error = np.abs(frames.astype(int) - media.to_pictures(gradient()).astype(int))
    assert error.mean() < 3  # of 255: colour subsampling and rounding
    assert b"moov" in path.read_bytes()[:4096]  # the index comes first, so a browser can start at once
    assert [entry.name for entry in tmp_path.iterdir()] == ["video.mp4"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_loop_with_the_right_pace(tmp_path: Path, suffix: str):
    path = tmp_path / f"video{suffix}"
    media.write_video(gradient(), path, fps=10)
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (5, (256, 256), 0)
        image.seek(1)
        image.load()
        assert image.info["duration"] == 100


def test_tiny_frames_are_enlarged_without_smoothing():
    pictures = media.to_pictures(torch.rand(1, 3, 32, 48))
    assert pictures.shape == (1, 256, 384, 3)
    blocks = pictures.reshape(1, 32, 8, 48, 8, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_large_frames_keep_their_size_but_get_even_sides():
    pictures = media.to_pictures(torch.rand(1, 3, 257, 300))
    assert pictures.shape == (1, 258, 300, 3)
    assert (pictures[:, -1] == pictures[:, -2]).all()


def test_the_poster_is_the_middle_frame(tmp_path: Path):
    media.write_poster(gradient(), tmp_path / "poster.png")
    with Image.open(tmp_path / "poster.png") as image:
        assert (np.asarray(image) == media.to_pictures(gradient()[2:3])[0]).all()


def test_frames_that_are_not_rgb_are_refused(tmp_path: Path):
    with pytest.raises(ShapeError, match=r"\[frames, 3, height, width\]"):
        media.write_video(torch.rand(5, 1, 32, 32), tmp_path / "video.mp4", 8)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_encoder_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*arguments: object) -> None:
        arguments[1].write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(media, "_write_mp4", stop)
    with pytest.raises(KeyboardInterrupt):
        media.write_video(gradient(), tmp_path / "video.mp4", 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("video.avi", r"must end in \.mp4, \.gif, \.webp"),
        ("video", "must end in"),
        ("missing/video.mp4", "does not exist"),
        ("folder.mp4", "is a folder"),
        ("there.mp4", "exists"),
    ],
)
def test_outputs_are_refused_before_anything_is_made(tmp_path: Path, name: str, message: str):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "there.mp4").touch()
    with pytest.raises(OutputError, match=message):
        media.check_output(tmp_path / name, overwrite=False)
    media.check_output(tmp_path / "there.mp4", overwrite=True)


def test_an_unwritable_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        media.check_output(tmp_path / "video.mp4")


def break_off(folder: Path, file: str = "") -> None:
    """Begin to write into a folder, and fail."""
    with media.folder_for_results(folder):
        assert folder.is_dir()
        if file:
            (folder / file).touch()
        raise ValueError("broken off")


def test_an_error_before_anything_is_written_leaves_no_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="broken off"):
        break_off(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="broken off"):
        break_off(tmp_path / "a" / "b", "result")
    assert (tmp_path / "a" / "b" / "result").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="broken off"):
        break_off(tmp_path / "there")
    assert (tmp_path / "there").exists()
    with media.folder_for_results(tmp_path / "kept"):
        pass
    assert (tmp_path / "kept").is_dir()
