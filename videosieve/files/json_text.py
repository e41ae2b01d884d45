"""JSON and JSON lines."""

import json
from pathlib import Path
from typing import Any

from videosieve.errors import VideosieveError
from videosieve.fields import shown
from videosieve.files.paths import read_bytes
from videosieve.files.text import decode, lines_of


def parse_json(text: str, where: str, error: type[VideosieveError]) -> Any:
    """The value that a JSON text describes.

    Args:
        text: The text.
        where: What it is, for messages; with its line where it is one of a file.
        error: What to raise.

    Returns:
        Dictionaries, lists, numbers, text, booleans, None.

    Raises:
        VideosieveError: Of the class `error`: it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as cause:
        place = f"line {cause.lineno}, column {cause.colno}"
        raise error(f"cannot read {where}: it is not JSON, {cause.msg} at {place}") from None
    except RecursionError:
        raise error(f"cannot read {where}: it is nested deeper than can be read") from None
    except ValueError as cause:  # a number of thousands of digits
        raise error(f"cannot read {where}: it is not JSON, {cause}") from None


def read_json(path: str | Path, what: str, error: type[VideosieveError]) -> Any:
    """The value in a JSON file.

    Args:
        path: The file.
        what: What it is to the reader: "results", "a model index", …
        error: What to raise.

    Returns:
        As for `parse_json`.

    Raises:
        VideosieveError: Of the class `error`: it cannot be read, is no text, or no JSON.
    """
    where = f"{what} {str(path)!r}"
    return parse_json(decode(read_bytes(path, what, error), where, error), where, error)


def read_table(path: str | Path, what: str, error: type[VideosieveError]) -> dict[str, Any]:
    """The object in a JSON file; arguments as for `read_json`.

    Raises:
        VideosieveError: Of the class `error`: as for `read_json`, or it is no object.
    """
    value = read_json(path, what, error)
    if not isinstance(value, dict):
        raise error(
            f"cannot read {what} {str(path)!r}: it must be a table of names and values, got {shown(value)}"
        )
    return value


def read_json_lines(
    path: str | Path, what: str, error: type[VideosieveError]
) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file; empty lines are left out.

    Args:
        path: The file.
        what: What it is to the reader.
        error: What to raise.

    Returns:
        Line number, from 1, and object of every line.

    Raises:
        VideosieveError: Of the class `error`: it cannot be read, or a line is no JSON object; the message names it.
    """
    where = f"{what} {str(path)!r}"
    rows = []
    for number, line in enumerate(lines_of(decode(read_bytes(path, what, error), where, error)), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{where}, line {number}", error)
        if not isinstance(row, dict):
            raise error(f"cannot read {where}: line {number} must be a JSON object, got {line[:60]}")
        rows.append((number, row))
    return rows
