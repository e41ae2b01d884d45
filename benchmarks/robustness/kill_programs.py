"""What is killed: small commands that write over time, what they have finished at any moment, and what they come to."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosieve.errors import OutputError
from videosieve.files import read_tensors
from videosieve.report import Results
from videosieve.shapes.checkpoint import read_state
from videosieve.shapes.training.train import read_log

CAPTION = "a large red circle moves left over a striped background"
PROMPTS = ("a red circle moves left", "a blue square moves up", "a white star stays still")
LOGS = ("manifest.jsonl", "unfinished.jsonl", "journal.jsonl", "log.jsonl")


@dataclass(frozen=True)
class Program:
    """A command that goes on after a kill.

    Attributes:
        words: The command for a folder; train asks whether there is something to resume.
        kept: What is finished, each as a text; must still be there after the next kill, unless the command has ended.
        result: What the finished folder says, without times; equal for every run.
        codes: Exit codes of a good end.
        share: Of the kills, against 1 of the others.
    """

    words: Callable[[Path], list[str]]
    kept: Callable[[Path], set[str]]
    result: Callable[[Path], Any]
    codes: tuple[int, ...] = (0,)
    share: float = 1.0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def lines_of(path: Path) -> set[str]:
    """The whole lines of a log, numbered."""
    if not path.is_file():
        return set()
    whole = path.read_bytes().split(b"\n")[:-1]
    return {f"{number} {line.decode()}" for number, line in enumerate(whole)}


def _train(folder: Path) -> list[str]:
    more = ["--resume"] if (folder / "checkpoint.safetensors").is_file() else []
    words = [
        "shapes",
        "train",
        "--size",
        "nano",
        "--samples",
        "64",
        "--no-compile",
        "--no-muon",
        "--dtype",
        "float32",
    ]
    return [
        *words,
        "--checkpoint-minutes",
        "0",
        "--sheet-minutes",
        "0.001",
        "--threads",
        "1",
        "-o",
        str(folder),
        *more,
    ]


def _steps(folder: Path) -> set[str]:
    path = folder / "checkpoint.safetensors"
    return {str(step) for step in range(read_state(path)["count"])} if path.is_file() else set()


def _trained(folder: Path) -> Any:
    tensors = read_tensors(folder / "checkpoint.safetensors", "it", OutputError)
    sums = {
        name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in sorted(tensors.items())
    }
    return sums, [(row["step"], row["loss"]) for row in read_log(folder)], names(folder)


def _compared(folder: Path) -> Any:
    results = Results.load(folder)
    clips = [
        (clip.method, clip.prompt, clip.seed, clip.psnr_frames, clip.ssim, clip.files)
        for clip in results.clips
    ]
    return results.status, clips, names(folder)


def _batches(folder: Path) -> set[str]:
    return {f"{path.name} {digest(path)}" for path in (folder / "unfinished").glob("*.safetensors")}


def _videos(folder: Path) -> set[str]:
    made = {f"{path.name} {path.stat().st_mtime_ns} {digest(path)}" for path in folder.glob("*.gif")}
    return made | lines_of(folder / "manifest.jsonl")


def _batched(folder: Path) -> Any:
    done = [json.loads(line.split(" ", 1)[1]) for line in lines_of(folder / "manifest.jsonl")]
    numbers = [line["number"] for line in done if line.get("status") == "done"]
    return (
        len(numbers) == len(set(numbers)),
        {path.name: digest(path) for path in folder.glob("*.gif")},
        names(folder),
    )


def _tuned(folder: Path) -> Any:
    points = [line for line in lines_of(folder / "journal.jsonl") if '"kind": "point"' in line]
    table = json.loads((folder / "tune.json").read_text(encoding="utf-8"))
    return len(table["points"]) == len(points), names(folder)


def programs(model: str, prompts: Path) -> dict[str, Program]:
    """The commands by name.

    Args:
        model: Folder of a tiny model.
        prompts: A file of prompts.
    """
    small = ["--model", model, "--steps", "2"]
    batch = ["batch", str(prompts), *small, "--frames", "4", "--method", "dense", "--format", "gif"]
    return {
        "train": Program(_train, _steps, _trained, share=0.5),
        "compare": Program(
            lambda folder: ["compare", *small, "--prompt", PROMPTS[0], "--methods", "svg",
                            "--set", "min_tokens=0", "--set", "dense_steps=1", "--no-floor", "-o", str(folder)],
            lambda folder: lines_of(folder / "unfinished.jsonl"), _compared,
        ),
        "sweep": Program(
            lambda folder: ["sweep", *small, "--prompt", PROMPTS[0], "--densities", "0.3,0.6", "--set", "min_tokens=0",
                            "--set", "dense_steps=1", "-o", str(folder)],
            lambda folder: lines_of(folder / "unfinished.jsonl"), _compared,
        ),
        "tune": Program(
            lambda folder: ["tune", *small, "--psnr", "10", "--methods", "svg", "--prompt", CAPTION, "--guidance", "1",
                            "--minutes", "60", "--best-effort", "-o", str(folder)],
            lambda folder: lines_of(folder / "journal.jsonl"), _tuned, (0, 1), share=0.5,
        ),
        "evaluate": Program(
            lambda folder: ["shapes", "evaluate", "--run", model, "--prompts", "5", "--held-out", "3", "--steps", "1",
                            "--batch", "2", "--kernel", "reference", "-o", str(folder)],
            _batches,
            lambda folder: (digest(folder / "scores.json"), digest(folder / "samples.png"), names(folder)),
        ),
        "batch": Program(lambda folder: [*batch, "-o", str(folder)], _videos, _batched, share=1.5),
        "batch --executor process": Program(
            lambda folder: [*batch, "--executor", "process", "--devices", "cpu,cpu", "-o", str(folder)],
            _videos, _batched, share=0.05,
        ),
    }  # fmt: skip


def corrupt(folder: Path, decode: bool) -> list[str]:
    """Files under a final name that are not whole.

    Args:
        folder: What was written.
        decode: Whether films are decoded, or only looked at.
    """
    return [
        path.name
        for path in sorted(folder.rglob("*"))
        if _is_final(path, folder) and not _is_whole(path, decode)
    ]


def left_behind(folder: Path) -> list[str]:
    """Temporaries and locks."""
    return [path.name for path in folder.rglob("*") if path.name.startswith((".videosieve", ".tmp"))]


def _is_final(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(
        part.startswith(".videosieve") for part in path.relative_to(folder).parts
    )


def _is_whole(path: Path, decode: bool) -> bool:
    readers: dict[str, Callable[[Path], object]] = {
        ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        ".jsonl": _read_lines, ".safetensors": lambda path: read_tensors(path, "it", OutputError),
        ".png": _look, ".gif": _look, ".svg": _require_end, ".html": _require_end,
        ".mp4": _play if decode else _require_index,
    }  # fmt: skip
    try:
        readers.get(path.suffix, lambda _: None)(path)
    except Exception:  # noqa: BLE001 - whatever a reader says, the file is not whole
        return False
    return True


def _read_lines(path: Path) -> None:
    *whole, last = path.read_bytes().split(b"\n")
    for line in whole if path.name in LOGS or not last else [*whole, last]:
        json.loads(line)


def _look(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        for frame in range(getattr(picture, "n_frames", 1)):
            picture.seek(frame)
            picture.load()


def _require_end(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith(f"</{path.suffix[1:]}>")


def _require_index(path: Path) -> None:
    assert b"moov" in path.read_bytes()[:4096]


def _play(path: Path) -> None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path), "-f", "null", "-"]
    assert not subprocess.run(command, capture_output=True, check=True).stderr
