"""Reads prompts from .txt, .csv, .jsonl or .parquet files, and refuses what would go wrong later."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from videosieve.batch.jobs import Job
from videosieve.errors import PromptError
from videosieve.fields import Seed, checked, shown
from videosieve.files import read_csv, read_json_lines, read_lines
from videosieve.visible import visible

COLUMNS = ("prompt", "seed", "negative_prompt", "image")
SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")


def read_prompts(path: Path, seeds: tuple[int, ...] = (0,)) -> list[Job]:
    """All jobs of a prompt file.

    A .txt file has one prompt a line (empty lines and lines that start with # are left out). The other formats have a
    column `prompt` and may have `seed`, `negative_prompt` and `image`.

    Args:
        path: The file.
        seeds: Seeds for every prompt whose row has none.

    Returns:
        One job for every prompt and seed, in the order of the file.

    Raises:
        PromptError: The file is missing, unreadable, empty, has unknown columns, or holds a prompt and seed twice.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise PromptError(
            f"prompts come from a file that ends in {', '.join(SUFFIXES)}, got {shown(str(path))}"
        )
    jobs: list[Job] = []
    for place, row in _READERS[suffix](path):
        _check_row(row, place, path)
        own = row.get("seed")
        for seed in seeds if own is None or own == "" else (_seed(own, place, path),):
            texts = {key: _text_of(row, key, place, path) for key in ("negative_prompt", "image")}
            jobs.append(Job(len(jobs), _text_of(row, "prompt", place, path), seed, **texts))
    if not jobs:
        raise PromptError(f"{str(path)!r} holds no prompt; write one a line, or a column named prompt")
    _refuse_twins(jobs, path)
    return jobs


def shard(jobs: list[Job], index: int, count: int) -> list[Job]:
    """Every `count`-th job, starting with the `index`-th; together the shards hold every job once.

    Args:
        jobs: All jobs.
        index: 1 to `count`.
        count: Shards.

    Returns:
        The jobs of this shard, their numbers unchanged.

    Raises:
        PromptError: index is outside 1 … count.
    """
    if not 1 <= index <= count:
        raise PromptError(f"a shard is i/n with 1 <= i <= n, got {index}/{count}")
    if index > len(jobs):
        raise PromptError(
            f"shard {index}/{count} of {len(jobs)} videos holds none; there are at most as many shards as videos"
        )
    return jobs[index - 1 :: count]


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8).

    Raises:
        PromptError: It is not of this form.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise PromptError(f"a shard is i/n with 1 <= i <= n, for example 2/8; got {text!r}")
    return int(parts[0]), int(parts[1])


Rows = Iterable[tuple[int, dict[str, Any]]]
WHAT = "the prompts"


def _text(path: Path) -> Rows:
    lines = enumerate(read_lines(path, WHAT, PromptError), start=1)
    return [
        (number, {"prompt": line})
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _csv(path: Path) -> Rows:
    return read_csv(path, WHAT, PromptError)


def _json_lines(path: Path) -> Rows:
    return read_json_lines(path, WHAT, PromptError)


def _parquet(path: Path) -> Rows:
    try:
        from pyarrow import ArrowException  # pyright: ignore[reportMissingImports]
        from pyarrow.parquet import read_table  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise PromptError(
            "reading .parquet needs pyarrow: pip install pyarrow, or write the prompts as .csv"
        ) from None
    try:
        return list(enumerate(read_table(path).to_pylist(), start=1))
    except (ArrowException, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PromptError(f"cannot read {WHAT} {str(path)!r}: {reason}") from None


_READERS = {".txt": _text, ".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


def _text_of(row: dict[str, Any], key: str, place: int, path: Path) -> str:
    """A cell of text; only blanks and line ends at its ends are cut off."""
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise PromptError(f"line {place} of {str(path)!r}: {key} must be text, got {shown(value)}")
    return checked(
        f"{key} in line {place} of {str(path)!r}", (value or "").strip(" \t\r\n"), str, PromptError
    )


def _check_row(row: dict[str, Any], place: int, path: Path) -> None:
    if not str(row.get("prompt") or "").strip():
        raise PromptError(
            f"line {place} of {str(path)!r} has no prompt; every row needs a text in the column prompt"
        )
    unknown = [str(key) for key in row if key not in COLUMNS]
    if unknown:
        raise PromptError(
            f"{str(path)!r} has unknown columns {', '.join(map(visible, unknown[:8]))}; known are "
            f"{', '.join(COLUMNS)}. Rename or drop them"
        )


def _seed(value: Any, place: int, path: Path) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isdecimal() and len(text) < 20:
        value = int(text)
    elif isinstance(text, float) and text.is_integer():
        value = int(text)  # tables with empty cells make 3.0 of 3
    return checked(f"seed in line {place} of {str(path)!r}", value, Seed, PromptError)


def _refuse_twins(jobs: Iterable[Job], path: Path) -> None:
    seen: dict[tuple[str, int, str, str], int] = {}
    for job in jobs:
        key = (job.prompt, job.seed, job.negative_prompt, job.image)
        if key in seen:
            raise PromptError(
                f"{str(path)!r} asks for the same video twice: {job.prompt!r} with seed {job.seed} as number "
                f"{seen[key]} and {job.number}; remove one or give another seed"
            )
        seen[key] = job.number
