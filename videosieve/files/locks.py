"""Locks: one process works in a folder, or on a log, at a time, and what a dead one left is told from what lives.

A lock is an advisory one of the system (`flock`) on a small file that says whose it is. The system lets go of it when
its process ends, however that ends. Where there are no such locks (Windows, some network disks) work goes on with a
warning: two processes that write the same are not noticed there, and what killed ones left goes after a day.
"""

import os
import socket
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from videosieve.errors import OutputError, VideosieveError, VideosieveWarning
from videosieve.files.paths import reason_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

LOCK = ".videosieve-lock"
"""How names of lock files begin."""
Held = TypeVar("Held", bound="Claim")


def try_lock(file: IO[Any]) -> bool | None:
    """Lock an open file without waiting.

    Returns:
        True where it is ours until it is closed, False where another one has it, None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(file: IO[Any], path: Path) -> bool:
    """Whether an open file still lies under this name: its last holder may have deleted it before we had the lock."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


class Claim:
    """The right to write in a folder, or one file of it, until it is released or the process ends.

    Attributes:
        path: The lock file; it goes with the claim, and is nobody's where a killed process left it.

    Args:
        folder: Where the work goes; must exist.
        name: Of the file in it that is written; empty for the whole folder. Claims of different names do not meet.
        elsewhere: The way out for whoever comes second.
        error: What to raise.

    Raises:
        VideosieveError: Of the class `error`: another process has it, which the message names, or the folder cannot
            be written. Two claims of one process exclude each other too.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "",
        elsewhere: str = "choose another output",
        error: type[VideosieveError] = OutputError,
    ) -> None:
        target = folder / name if name else folder
        self.path = folder / (f"{LOCK}-{name}" if name else LOCK)
        while True:
            try:
                self._file = self.path.open("a+b", buffering=0)
            except OSError as cause:
                raise error(f"{str(target)!r} cannot be written ({reason_of(cause)}); {elsewhere}") from None
            locked = try_lock(self._file)
            if locked is False:
                holder = _holder(self._file)
                self._file.close()
                raise error(f"another process works on {str(target)!r}{holder}; wait for it, or {elsewhere}")
            if locked is None:
                warnings.warn(
                    f"no file can be locked in {str(folder)!r}: let nobody else write there meanwhile",
                    VideosieveWarning,
                    stacklevel=2,
                )
            if is_at(self._file, self.path):
                break
            self._file.close()
        with suppress(OSError):  # a full disk: whose it is, is a courtesy
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} {socket.gethostname()}".encode())

    def __enter__(self: Held) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go; nothing happens the second time."""
        if not self._file.closed:
            with suppress(OSError):
                self.path.unlink()
            with suppress(OSError):
                self._file.close()


def _holder(file: IO[bytes]) -> str:
    """Whose the lock is, as the end of a sentence; empty where it does not say."""
    file.seek(0)
    pid, _, host = file.read(300).decode(errors="replace").partition(" ")
    if not pid.isdecimal():
        return ""
    return f" (pid {pid})" if host == socket.gethostname() else f" (pid {pid} on {host})"
