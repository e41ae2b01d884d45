"""Whole files or none: what is written appears under its name when it is complete, and what a kill leaves is swept.

A file is written in a *room*, a folder of its own beside the place where it will stand, and moved out when it is whole.
So whatever a library writes on the way (safetensors has temporaries of its own) lies in the room as well. A room is
locked as long as its writer lives; every start of a verb sweeps the rooms of dead ones out of the folders it writes to.
"""

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from videosieve.errors import OutputError, VideosieveError
from videosieve.fields import shown
from videosieve.files.locks import LOCK, is_at, try_lock
from videosieve.files.paths import entries, exists, is_folder, reason_of

LONGEST_NAME = 240
"""Bytes: 255 of the usual file systems less what numbers and endings of files that belong together add."""
_ROOM = ".videosieve-part-"
_OURS = re.compile(rf"{re.escape(_ROOM)}[a-z0-9_]{{8}}|{re.escape(LOCK)}(-.*)?", re.DOTALL)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DAY = 86_400  # seconds


def check_writable(folder: Path) -> None:
    """Raise an OutputError unless a file can be made in `folder`, and sweep it.

    Asking the system beats reading its permissions.
    """
    sweep(folder)
    try:
        with _room(folder):
            pass
    except (OSError, ValueError) as error:  # a ValueError of a NUL in the path
        raise OutputError(f"cannot write in {str(folder)!r}: {reason_of(error)}; {way_out(error)}") from None


def require_folder(folder: Path) -> None:
    """Refuse a folder for results before anything expensive happens; changes nothing but what `sweep` takes away.

    Raises:
        OutputError: It is a file, its name is none, or nothing can be written there.
    """
    check_name(folder)
    if not is_folder(folder) and exists(folder):
        raise OutputError(f"{str(folder)!r} is a file; give a folder for the results")
    check_writable(next(place for place in (folder, *folder.absolute().parents) if is_folder(place)))


def is_empty(folder: Path) -> bool:
    """Whether a folder is missing or holds nothing but locks and rooms.

    Raises:
        OutputError: It cannot be read.
    """
    return not is_folder(folder) or all(_OURS.fullmatch(path.name) for path in entries(folder, OutputError))


def check_name(path: Path) -> None:
    """Raise an OutputError unless a file of this name can be made: no part too long, no NUL, nothing unreadable."""
    for part in path.parts:
        if "\0" in part or len(os.fsencode(part)) > LONGEST_NAME:
            raise OutputError(
                f"{shown(str(path))} cannot be a path: a name has at most {LONGEST_NAME} bytes and no NUL; got "
                f"{len(os.fsencode(part))} bytes"
            )


def is_full(error: Exception | None) -> bool:
    """Whether a write failed because no more fits: the disk, a quota, or the largest size of a file."""
    return isinstance(error, OSError) and error.errno in _FULL


def way_out(error: Exception) -> str:
    """What to do about a file that the system did not write."""
    return "make room and try again" if is_full(error) else "choose another output"


@contextmanager
def whole_file(path: Path, error: type[VideosieveError] = OutputError) -> Iterator[Path]:
    """Hand out a temporary place; what is written there becomes `path` when the block ends well, else it goes.

    Args:
        path: The final name.
        error: What to raise.

    Yields:
        The temporary path, of the same name in another folder of the same disk.

    Raises:
        VideosieveError: Of the class `error`: the system refused to write (disk full); a file that stood there is as
            it was.
    """
    if "\0" in str(path):
        raise error(f"cannot write {shown(str(path))}: a name holds no NUL; choose another output")
    try:
        with _room(path.parent) as room:
            yield room / path.name
            (room / path.name).replace(path)
    except OSError as cause:
        kept = "; the earlier one is intact" if exists(path) else ""
        raise error(f"cannot write {str(path)!r}: {reason_of(cause)}{kept}; {way_out(cause)}") from cause


def write_text(path: Path, text: str, error: type[VideosieveError] = OutputError) -> None:
    """Write a whole text file, UTF-8 with line feeds, or none; errors as for `whole_file`, and for half characters."""
    try:
        content = text.encode()
    except UnicodeEncodeError as cause:
        raise error(
            f"cannot write {shown(str(path))}: it would hold {text[cause.start]!a}, half a character that UTF-8 cannot "
            f"write; take it out"
        ) from None
    with whole_file(path, error) as temporary:
        temporary.write_bytes(content)


def sweep(folder: Path) -> None:
    """Delete what killed processes left in a folder: rooms and lock files that nobody holds. Never raises."""
    with suppress(OSError, ValueError):
        for path in [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]:
            with suppress(OSError):
                _sweep_one(path)


def _sweep_one(path: Path) -> None:
    is_room = path.name.startswith(_ROOM)
    lock = path / LOCK if is_room else path
    with lock.open("a" if is_room else "r+b") as file:
        locked = try_lock(file)
        dead = time.time() - path.stat().st_mtime > _DAY if locked is None else locked
        if dead and is_at(file, lock):
            if is_room:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    room, lock = _locked_room(folder)
    try:
        yield room
    finally:
        with suppress(OSError):
            shutil.rmtree(room, ignore_errors=True)
            lock.close()


def _locked_room(folder: Path) -> tuple[Path, IO[bytes]]:
    while True:
        room = Path(tempfile.mkdtemp(prefix=_ROOM, dir=folder))
        with suppress(FileNotFoundError):  # swept before it was locked
            lock = (room / LOCK).open("ab", buffering=0)
            if try_lock(lock) is not False and is_at(lock, room / LOCK):
                return room, lock
            lock.close()
