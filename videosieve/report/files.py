"""Whole files or none: results are written under a temporary name and renamed when they are complete."""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from videosieve.errors import OutputError


def check_writable(folder: Path) -> None:
    """Raise an OutputError unless a file can be made in `folder`. Asking the system beats reading its permissions."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".videosieve-"):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write in {str(folder)!r}: {error.strerror or error}; choose another output"
        ) from None


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
