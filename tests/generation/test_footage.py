"""Videos that are given: every format comes back as it was written, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.concepts import SaliencyMaps
from videosieve.errors import ModelError, ShapeError
from videosieve.generation.footage import fit_footage, read_footage
from videosieve.generation.media import write_video
from videosieve.testing.pipelines import tiny_cogvideox, tiny_wan

SHADES = torch.linspace(0.1, 0.9, 5).view(5, 1, 1, 1)


def film(height: int = 256, width: int = 256) -> torch.Tensor:
    """Five frames, every one brighter, red from left to right."""
    video = SHADES.expand(5, 3, height, width).clone()
    video[:, 0] *= torch.linspace(0.2, 1, width)
    return video


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif"])
def test_a_written_video_comes_back(tmp_path: Path, suffix: str):
    path = tmp_path / f"video{suffix}"
    write_video(film(256, 320), path, fps=8)
    back = read_footage(path)
    assert back.shape == (5, 3, 256, 320)
    assert (back - film(256, 320)).abs().mean() < 0.02
    assert torch.equal(read_footage(path, 2), back[:2])


def test_a_folder_of_pictures_is_read_in_the_order_of_names(tmp_path: Path):
    for number in (2, 0, 1):
        Image.new("RGB", (8, 4), (number * 50, 0, 255)).save(tmp_path / f"frame-{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    back = read_footage(tmp_path)
    assert back.shape == (3, 3, 4, 8)
    assert (back[:, 0, 0, 0] * 255).round().tolist() == [0, 50, 100]
    assert back[:, 2].eq(1).all()


def test_what_cannot_be_read_says_so(tmp_path: Path):
    with pytest.raises(ModelError, match="does not exist; give a video file or a folder"):
        read_footage(tmp_path / "none.mp4")
    with pytest.raises(ModelError, match="holds no pictures"):
        read_footage(tmp_path)
    for name, message in (
        ("broken.mp4", "FFmpeg cannot read"),
        ("broken.gif", "not an image that Pillow can read"),
    ):
        (tmp_path / name).write_bytes(b"no video at all")
        with pytest.raises(ModelError, match=message):
            read_footage(tmp_path / name)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, side in enumerate((8, 8, 9)):
        Image.new("RGB", (side, 8)).save(folder / f"{number}.png")
    with pytest.raises(ModelError, match="frame 0 has 8 × 8 pixels and frame 2 has 9 × 8"):
        read_footage(folder)
    assert len(read_footage(folder, 2)) == 2
    (folder / "2.png").unlink()
    with pytest.raises(ModelError, match="at least 4 frames, got 2"):
        read_footage(folder, 4)


def test_the_bundled_models_get_their_own_size_and_others_the_videos(nano: Any):
    small = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    enlarged = small.repeat_interleave(16, 2).repeat_interleave(16, 3)
    torch.testing.assert_close(fit_footage(nano, enlarged), small)
    assert fit_footage(nano, enlarged, 20, 24).shape == (5, 3, 20, 24)
    pipe = tiny_cogvideox()
    assert fit_footage(pipe, film(32, 48)) is not None
    assert torch.equal(fit_footage(pipe, film(32, 48)), film(32, 48))


def test_another_shape_is_covered_and_its_middle_kept(nano: Any):
    wide = torch.zeros(1, 3, 32, 96)
    wide[..., 32:64] = 1
    assert fit_footage(nano, wide, 32, 32).eq(1).all()


def test_sides_and_frames_that_do_not_fit_name_some_that_do():
    pipe = tiny_wan()  # patches of 2 × 2, an 8-fold VAE with 4 frames in one
    with pytest.raises(
        ShapeError, match="multiples of 16 pixels, got 50 × 30; scale it with --height 32 --width 48"
    ):
        fit_footage(pipe, film(30, 50))
    longer = torch.rand(8, 3, 32, 48)
    assert len(fit_footage(pipe, longer)) == 5
    with pytest.raises(ShapeError, match=r"4 × n \+ 1 frames, got 8; give --frames 5"):
        fit_footage(pipe, longer, whole=True)


def test_the_verb_looks_at_a_given_video(nano: Any, tmp_path: Path):
    nano.save_pretrained(tmp_path / "nano")
    write_video(film(), tmp_path / "film.mp4", fps=8)
    words = [
        "saliency",
        "a red circle",
        "--video",
        str(tmp_path / "film.mp4"),
        "--model",
        str(tmp_path / "nano"),
    ]
    words += [
        "--concept",
        "red circle",
        "--concept",
        "background",
        "--device",
        "cpu",
        "--steps",
        "5",
        "--frames",
        "4",
    ]
    result = CliRunner().invoke(app, [*words, "--look-at", "2,4", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    found = SaliencyMaps.load(tmp_path / "out" / "saliency.safetensors")
    assert found.steps == (2, 4)
    assert found.video is not None
    assert (found.video - film(16, 16)[:4]).abs().mean() < 0.03
    refused = CliRunner().invoke(app, [*words, "--guidance", "3", "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "without guidance" in refused.stderr
