"""TOML in and out."""

import math
import re
import sys
from typing import Any

from videosieve.errors import VideosieveError
from videosieve.fields import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def parse_toml(text: str, where: str, error: type[VideosieveError]) -> dict[str, Any]:
    """The table that a TOML text describes.

    Args:
        text: The text.
        where: What it is, for messages.
        error: What to raise.

    Returns:
        The table.

    Raises:
        VideosieveError: Of the class `error`: it is no TOML, or nested deeper than can be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise error(f"cannot read {where}: it is nested deeper than can be read") from None
    except ValueError as cause:  # TOMLDecodeError, and numbers of thousands of digits
        raise error(f"{where} is not valid TOML: {cause}") from None


def toml_key(key: str) -> str:
    """A key as TOML: bare where that is allowed, else quoted."""
    return key if _BARE.fullmatch(key) else _quoted(key)


def toml_value(value: object, error: type[VideosieveError]) -> str:
    """A value as TOML that reads back equal; lists of text with a line an entry.

    Args:
        value: Truth, number, text, or a list of such; tuples are lists.
        error: What to raise.

    Raises:
        VideosieveError: Of the class `error`: TOML has no such value. It has no null either: leave the key out.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"{value:f}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple | list):
        parts = [toml_value(item, error) for item in value]
        if any(isinstance(item, str) for item in value):
            return "[\n" + "".join(f"    {part},\n" for part in parts) + "]"
        return f"[{', '.join(parts)}]"
    raise error(f"TOML can write truth, numbers, text and lists of them, got {shown(value)}")


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else character
