"""Whole files or none: results are written under a temporary name and renamed when they are complete."""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from videosieve.errors import OutputError
from videosieve.fields import shown
from videosieve.files import exists, is_folder, reason_of

LONGEST_NAME = 240
"""Bytes: 255 of the usual file systems less what the name of a temporary adds."""


def check_writable(folder: Path) -> None:
    """Raise an OutputError unless a file can be made in `folder`. Asking the system beats reading its permissions."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".videosieve-"):
            pass
    except (OSError, ValueError) as error:  # a ValueError of a NUL in the path
        raise OutputError(
            f"cannot write in {str(folder)!r}: {reason_of(error)}; choose another output"
        ) from None


def require_folder(folder: Path) -> None:
    """Refuse a folder for results before anything expensive happens; changes nothing.

    Raises:
        OutputError: It is a file, its name is none, or nothing can be written there.
    """
    check_name(folder)
    if not is_folder(folder) and exists(folder):
        raise OutputError(f"{str(folder)!r} is a file; give a folder for the results")
    check_writable(next(place for place in (folder, *folder.absolute().parents) if is_folder(place)))


def check_name(path: Path) -> None:
    """Raise an OutputError unless a file of this name can be made: no part too long, no NUL, nothing unreadable."""
    for part in path.parts:
        if "\0" in part or len(os.fsencode(part)) > LONGEST_NAME:
            raise OutputError(
                f"{shown(str(path))} cannot be a path: a name has at most {LONGEST_NAME} bytes and no NUL, so that a "
                f"temporary one fits beside it; got {len(os.fsencode(part))} bytes"
            )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Hand out a temporary name next to `path`; it becomes `path` when the block ends well, and goes if it does not.

    Args:
        path: The final name.

    Yields:
        The temporary name, with the same ending.

    Raises:
        OutputError: The system refused to write.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def remove_torn(folder: Path, names: Collection[str]) -> None:
    """Delete the temporaries that `whole_file` left behind where its process was killed.

    Args:
        folder: Where the files are.
        names: Names of files that nobody is writing; temporaries of others stay.
    """
    for path in folder.glob(".*"):
        stem, _, process = path.stem[1:].rpartition(".")
        if process.isdigit() and stem + path.suffix in names:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or none."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
