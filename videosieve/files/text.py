"""Text and its lines."""

import codecs
from pathlib import Path

from videosieve.errors import VideosieveError
from videosieve.files.paths import read_bytes

_WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_WIDEST = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read_text(path: str | Path, what: str, error: type[VideosieveError]) -> str:
    """The text of a file.

    Args:
        path: The file.
        what: What it is to the reader: "the prompts", "recipe", …
        error: What to raise.

    Returns:
        The text without a byte order mark, line ends as they are.

    Raises:
        VideosieveError: Of the class `error`: it cannot be read, or is neither UTF-8 nor UTF-16 with its mark; the
            message says at which line and byte.
    """
    return decode(read_bytes(path, what, error), f"{what} {str(path)!r}", error)


def decode(content: bytes, where: str, error: type[VideosieveError]) -> str:
    """Text from bytes.

    Args:
        content: The bytes.
        where: What they are, for messages.
        error: What to raise.

    Returns:
        The text without a byte order mark.

    Raises:
        VideosieveError: Of the class `error`: as for `read_text`.
    """
    if content.startswith(_WIDEST):
        raise error(f"cannot read {where}: it is UTF-32; save it as UTF-8")
    coding = _WIDE.get(content[:2])
    body = content[2:] if coding else content.removeprefix(codecs.BOM_UTF8)
    try:
        text = body.decode(coding or "utf-8")
    except UnicodeDecodeError as cause:
        before = body[: cause.start]
        line = before.decode(coding or "utf-8", errors="ignore").count("\n") + 1
        place = cause.start - before.rfind(b"\n") if coding is None else cause.start + 1
        raise error(
            f"cannot read {where}: line {line}, byte {place} is {body[cause.start]:#04x}, which is no "
            f"{(coding or 'utf-8').upper()[:6].rstrip('-')}; save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise error(
            f"cannot read {where}: line {line} holds a NUL, as binary files do, and UTF-16 without a byte order mark; "
            f"save it as UTF-8"
        )
    return text


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, cut at \n and \r\n alone; the empty one behind the last line end is none."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def read_lines(path: str | Path, what: str, error: type[VideosieveError]) -> list[str]:
    """The lines of a text file; arguments and errors as for `read_text`."""
    return lines_of(read_text(path, what, error))
