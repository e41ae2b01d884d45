"""VBench's prompts as jobs whose videos get the names that `vbench evaluate` looks for: `<prompt>-<index>.mp4`.

Five samples a prompt; 25 where the prompt belongs to the dimension temporal_flickering, whose protocol drops static
videos first. VBench asks for another seed for every video; here it follows from the file's name, so that any subset
of the prompts gives the same videos. Models that want long prompts get the long text, but the file keeps the name of
the short one, by which VBench finds it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any

from videosieve.batch.jobs import Job
from videosieve.errors import PromptError
from videosieve.fields import In, checked
from videosieve.files import read_json, read_lines

Samples = Annotated[int, In("[1, 100000]", "must be at least 1 and at most 100,000")]
SAMPLES, FLICKER_SAMPLES = 5, 25
SUFFIXES = (".mp4", ".gif")  # that VBench opens
LONGEST_FILE_NAME = 255  # bytes, of the usual file systems


def read_vbench_prompts(
    path: Path,
    *,
    samples: int | None = None,
    dimensions: tuple[str, ...] = (),
    long_prompts: Path | None = None,
) -> list[Job]:
    """All jobs of VBench's prompt list; a prompt that stands in several dimensions is made once.

    Args:
        path: `VBench_full_info.json`, or a .txt file with one prompt a line such as `all_dimension.txt` or one of
            `prompts_per_dimension`.
        samples: Videos a prompt; None for the protocol's 5, and 25 for temporal_flickering (known from the .json, or
            from a file called temporal_flickering.txt).
        dimensions: Only prompts of these; empty for all. Needs the .json.
        long_prompts: A text file whose line i is the long form of prompt i, such as `all_dimension_longer.txt`.

    Returns:
        One job for every prompt and sample.

    Raises:
        PromptError: A file is unreadable, empty or of another form, has another number of prompts than `long_prompts`,
            or a prompt cannot be a file name.
    """
    checked("samples", samples, Samples | None, PromptError)
    entries = _entries(path)
    if dimensions:
        _require_known(dimensions, entries, path)
    texts = _lines(long_prompts) if long_prompts else [entry["prompt_en"] for entry in entries]
    if len(texts) != len(entries):
        raise PromptError(
            f"{str(long_prompts)!r} must have one line a prompt: {len(entries)} prompts, {len(texts)} lines"
        )
    kept: dict[str, tuple[str, int]] = {}
    for entry, text in zip(entries, texts, strict=True):
        if dimensions and not set(dimensions) & set(entry["dimension"]):
            continue
        count = samples or (FLICKER_SAMPLES if "temporal_flickering" in entry["dimension"] else SAMPLES)
        name = _checked(entry["prompt_en"], path)
        before = kept.get(name, (text, 0))
        kept[name] = (before[0], max(before[1], count))
    names = [(f"{name}-{index}", text) for name, (text, count) in kept.items() for index in range(count)]
    return [Job(number, text, _seed(name), name=name) for number, (name, text) in enumerate(names)]


def _entries(path: Path) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".txt":
        entries = [{"prompt_en": line, "dimension": [path.stem]} for line in _lines(path)]
    elif path.suffix.lower() == ".json":
        entries = _json_entries(path)
    else:
        raise PromptError(f"VBench's prompts come from its .json or a .txt file, got {str(path)!r}")
    if not entries:
        raise PromptError(f"{str(path)!r} holds no prompt")
    return entries


def _json_entries(path: Path) -> list[dict[str, Any]]:
    entries = read_json(path, "the prompts", PromptError)
    fits = isinstance(entries, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("prompt_en"), str)
        and isinstance(entry.get("dimension"), list)
        and all(isinstance(name, str) for name in entry["dimension"])
        for entry in entries
    )
    if not fits:
        raise PromptError(
            f"{str(path)!r} is not VBench_full_info.json, a list of objects with prompt_en and dimension"
        )
    return entries


def _lines(path: Path) -> list[str]:
    lines = read_lines(path, "the prompts", PromptError)
    return [line.strip(" \t") for line in lines if line.strip()]


def _require_known(dimensions: tuple[str, ...], entries: list[dict[str, Any]], path: Path) -> None:
    known = sorted({name for entry in entries for name in entry["dimension"]})
    if unknown := [name for name in dimensions if name not in known]:
        raise PromptError(f"{str(path)!r} has no dimension {', '.join(unknown)}; it has {', '.join(known)}")


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _checked(prompt: str, path: Path) -> str:
    name = checked("a prompt", prompt.strip(" \t\n"), str, PromptError)
    longest = LONGEST_FILE_NAME - len(".-24.1234567.mp4")  # the temporary name, with a process id
    if not name or "/" in name or "\0" in name or name.startswith(".") or len(name.encode()) > longest:
        raise PromptError(
            f"{str(path)!r}: VBench wants the prompt as file name, which {name!r} cannot be: at most {longest} bytes, "
            f"no '/', no '.' at the start. Give the short prompts here and the long ones as long prompts"
        )
    return name
