"""A file is whole or it is not there, on a full disk too, and temporaries never stay."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videosieve import Recipe, Trace
from videosieve.concepts import SaliencyMaps
from videosieve.errors import ModelError, OutputError, VideosieveError
from videosieve.files import AppendLog, read_tensors, sweep, whole_file, write_tensors, write_text
from videosieve.files.films import write_h264
from videosieve.generation.media import write_poster, write_video
from videosieve.judging.batches import FinishedBatches
from videosieve.records import Record
from videosieve.shapes.checkpoint import write_checkpoint
from videosieve.shapes.training.train import LOG, _Log

MORE_THAN_FITS = 200_000  # bytes


@contextmanager
def full_disk(room: int = 1000) -> Iterator[None]:
    """No file grows beyond `room` bytes: the kernel answers as on a full disk, half-written files included."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def noise(frames: int = 4) -> torch.Tensor:
    return torch.rand(frames, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trace() -> Trace:
    return Trace([Record(0, step, "cond", "dense", "", "sdpa", 100, 1.0) for step in range(2000)])


MAPS = SaliencyMaps(("a", "b"), torch.rand(2, 64, 32, 32), "concept", (0,), (0,), {}, video=noise(64))
WRITERS: dict[str, tuple[str, Any]] = {
    "text": ("a.json", lambda path: write_text(path, "x" * MORE_THAN_FITS)),
    "recipe": ("r.toml", lambda path: Recipe.of("svg").save(path)),
    "trace": ("t.jsonl", lambda path: trace().save(path)),
    "tensors": ("a.safetensors", lambda path: write_tensors(path, {"x": torch.zeros(MORE_THAN_FITS)})),
    "checkpoint": ("c.safetensors", lambda path: write_checkpoint(path, {"x": torch.zeros(9999)}, {})),
    "maps": ("m.safetensors", lambda path: MAPS.save(path)),
    "maps as a film": ("m.mp4", lambda path: MAPS.save(path)),
    "maps as a picture": ("m.png", lambda path: MAPS.save(path)),
    "mp4": ("v.mp4", lambda path: write_video(noise(), path, 8)),
    "gif": ("v.gif", lambda path: write_video(noise(), path, 8)),
    "webp": ("v.webp", lambda path: write_video(noise(), path, 8)),
    "poster": ("p.png", lambda path: write_poster(noise(), path)),
    "batch": ("set-0.safetensors", lambda path: FinishedBatches(path.parent, "set", {}).keep(0, noise())),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_error_and_what_stood_there_stays(tmp_path: Path, name: str):
    file, write = WRITERS[name]
    path = tmp_path / file
    with (
        full_disk(100),
        pytest.raises((OutputError, ModelError), match="large; make room and try again$") as met,
    ):
        write(path)
    assert file in str(met.value)
    assert "\n" not in str(met.value)
    assert not list(tmp_path.iterdir())
    write(path)
    before = path.read_bytes()
    with (
        full_disk(100),
        pytest.raises((OutputError, ModelError), match="the earlier one is intact; make room"),
    ):
        write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [file]


def test_a_film_that_ffmpeg_could_not_finish_is_an_error(tmp_path: Path):
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(OSError, match="FFmpeg did not finish: .*[Nn]o such file"):
        write_h264(pictures, tmp_path / "none" / "v.mp4", 8)
    with pytest.raises(OSError, match="FFmpeg did not finish: .*strange"):
        write_h264(pictures, tmp_path / "v.mp4", 8, "-strange", "1")


class Diary(AppendLog):
    """A log."""

    kind = "diary"


def test_a_full_disk_tears_no_line_of_a_log_and_closing_it_is_quiet(tmp_path: Path):
    path = tmp_path / "diary.jsonl"
    with Diary(path, {}) as diary:
        diary.append({"day": 0})
        before = path.read_bytes()
        with full_disk(len(before) + 5):
            with pytest.raises(
                OutputError, match=r"diary.jsonl' cannot be written \(File too large\); its 1 entries"
            ):
                diary.append({"day": 1})
            assert path.read_bytes() == before
            with pytest.raises(OutputError, match="make room, and the same command goes on"):
                diary.append({"day": 2})
        diary.append({"day": 3})  # there is room again
    with Diary(path, {}) as diary:
        assert diary.lines == [{"day": 0}, {"day": 3}]


def test_an_error_of_the_disk_that_comes_when_the_log_is_closed_is_told(tmp_path: Path):
    class Late:
        def close(self) -> None:
            raise OSError(28, "No space left on device")

    for first, told in ((None, OutputError), (KeyboardInterrupt(), None)):
        diary = Diary(tmp_path / "d", {})
        diary._file.close()
        diary._file = Late()  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(told, match="No space left.*make room") if told else nullcontext():
            diary.__exit__(None, first, None)  # what came first stays
    with Diary(tmp_path / "d", {}):  # and the lock is free
        pass


def test_a_full_disk_stops_a_training_with_what_is_safe(tmp_path: Path):
    with _Log(tmp_path / LOG) as log:
        log.add({"step": 1.0})
        with full_disk(14), pytest.raises(ModelError, match="log.jsonl.*large; nothing was saved yet"):
            log.add({"step": 2.0})
        (tmp_path / "checkpoint.safetensors").touch()
        with (
            full_disk(14),
            pytest.raises(ModelError, match="the last checkpoint is intact; make room and resume"),
        ):
            log.add({"step": 2.0})


def test_a_block_that_fails_leaves_nothing(tmp_path: Path):
    def stop() -> None:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert not list(tmp_path.iterdir())


def test_safetensors_own_temporaries_lie_in_the_room(tmp_path: Path):
    with whole_file(tmp_path / "a.safetensors") as temporary:
        assert temporary.parent.parent == tmp_path
        (temporary.parent / ".tmp1234").write_bytes(b"half a checkpoint")
        write_tensors(temporary, {"x": torch.ones(2)[::1]})
    assert read_tensors(tmp_path / "a.safetensors", "it", OutputError)["x"].tolist() == [1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_a_character_is_an_error(tmp_path: Path):
    with pytest.raises(OutputError, match=r"a.html': it would hold '\\ud800', half a character"):
        write_text(tmp_path / "a.html", "x\ud800")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_names_that_cannot_be_are_errors(tmp_path: Path, name: str):
    with pytest.raises(VideosieveError, match="cannot write"):
        write_text(tmp_path / name, "x")
    sweep(tmp_path / name)  # never raises
