"""Paths as people give them: too long, with a NUL, in a folder that must not be read."""

from pathlib import Path

from videosieve.errors import VideosieveError


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; False for a name that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name of more than 255 bytes, a NUL, a folder that must not be read
        return False


def exists(path: str | Path) -> bool:
    """Whether there is anything of this name; False for a name that nothing can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; False for a name that no folder can have."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def entries(folder: Path, error: type[VideosieveError]) -> list[Path]:
    """What a folder holds, sorted by name.

    Raises:
        VideosieveError: Of the class `error`: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError) as cause:
        raise error(f"cannot read the folder {str(folder)!r}: {reason_of(cause)}") from None


def read_bytes(path: str | Path, what: str, error: type[VideosieveError]) -> bytes:
    """The content of a file.

    Args:
        path: The file.
        what: What it is to the reader: "the prompts", "recipe", …
        error: What to raise.

    Returns:
        Its bytes.

    Raises:
        VideosieveError: Of the class `error`: it is missing, a folder, not to be read, or its name is none.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as cause:
        raise error(f"cannot read {what} {str(path)!r}: {reason_of(cause)}") from None


def reason_of(cause: Exception) -> str:
    """What went wrong with a file, in a few words."""
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(str(cause).split()) or type(cause).__name__
