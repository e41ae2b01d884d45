"""Reads prompts from .txt, .csv, .jsonl or .parquet files, and refuses what would go wrong later."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from videosieve.batch.jobs import Job
from videosieve.errors import PromptError

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
    if path.suffix not in SUFFIXES:
        raise PromptError(f"prompts come from a file that ends in {', '.join(SUFFIXES)}, got {str(path)!r}")
    try:
        rows = _READERS[path.suffix](path)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise PromptError(f"cannot read the prompts in {str(path)!r}: {error}") from error
    jobs: list[Job] = []
    for place, row in enumerate(rows, start=1):
        _check_row(row, place, path)
        own = row.get("seed")
        for seed in seeds if own in (None, "") else (_seed(own, place, path),):
            texts = {key: str(row.get(key) or "") for key in ("negative_prompt", "image")}
            jobs.append(Job(len(jobs), str(row["prompt"]).strip(), seed, **texts))
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


def _text(path: Path) -> list[dict[str, Any]]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [{"prompt": line} for line in lines if line and not line.startswith("#")]


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException  # pyright: ignore[reportMissingImports]
        from pyarrow.parquet import read_table  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise PromptError(
            "reading .parquet needs pyarrow: pip install pyarrow, or write the prompts as .csv"
        ) from None
    try:
        return read_table(path).to_pylist()
    except ArrowException as error:
        raise OSError(str(error).splitlines()[0]) from error


_READERS = {".txt": _text, ".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


def _check_row(row: Any, place: int, path: Path) -> None:
    if not isinstance(row, dict) or "prompt" not in row or not str(row["prompt"] or "").strip():
        raise PromptError(
            f"row {place} of {str(path)!r} has no prompt; every row needs a text in the column prompt"
        )
    unknown = [str(key) for key in row if key not in COLUMNS]
    if unknown:
        raise PromptError(
            f"{str(path)!r} has unknown columns {', '.join(unknown)}; known are {', '.join(COLUMNS)}. "
            f"Rename or drop them"
        )


def _seed(value: Any, place: int, path: Path) -> int:
    try:
        seed = int(str(value))
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**63:
        raise PromptError(f"row {place} of {str(path)!r}: seed must be a whole number >= 0, got {value!r}")
    return seed


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
