"""The journal: one JSON line a finished evaluation, on disk before the next begins, so that a search can be resumed."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from videosieve.errors import OutputError

VERSION = 1


class Journal:
    """The journal of one search, open and locked.

    Attributes:
        entries: What earlier runs finished, in order.

    Args:
        path: The file; made if missing, its folder too.
        settings: Everything that decides what the figures mean, plain data.

    Raises:
        OutputError: It belongs to another search or version, another process works on it, or it cannot be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.entries: list[dict[str, Any]] = []
        self._path = path
        self._head = json.loads(json.dumps({"journal": VERSION, "settings": settings}))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write {str(path)!r}: {error.strerror or error}; choose another output"
            ) from None
        try:
            self._lock()
            self._read()
        except OutputError:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, kind: str, **values: Any) -> None:
        """Note something finished; on disk when this returns."""
        entry = {"kind": kind, **values}
        self._append(entry)
        self.entries.append(entry)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The entries of one kind, in order."""
        return [entry for entry in self.entries if entry["kind"] == kind]

    @property
    def elapsed(self) -> float:
        """Seconds that the finished work took, over all runs."""
        return sum(entry.get("took", 0.0) for entry in self.entries)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another process works on {str(self._path)!r}; wait for it, or choose another output"
            ) from None

    def _read(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        lines = text.splitlines()
        if text and not text.endswith("\n"):  # torn by a kill: drop what was not written whole
            self._file.truncate(len(text.encode()) - len(lines.pop().encode()))
        if not lines:
            self._append(self._head)
            return
        try:
            head, *self.entries = (json.loads(line) for line in lines)
        except json.JSONDecodeError as error:
            raise OutputError(f"{str(self._path)!r} is no journal ({error}); choose another output") from None
        self._require_same(head)

    def _require_same(self, head: Any) -> None:
        if not isinstance(head, dict) or head.get("journal") != VERSION:
            raise OutputError(
                f"{str(self._path)!r} is not a journal of version {VERSION}; choose another output"
            )
        theirs, ours = head["settings"], self._head["settings"]
        changed = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        if changed:
            key = changed[0]
            raise OutputError(
                f"{str(self._path)!r} holds a search with other settings ({', '.join(changed)}: {key} was "
                f"{theirs.get(key)!r} and is {ours.get(key)!r}); repeat them to resume it, or choose another output"
            )

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {str(self._path)!r}: {error.strerror or error}") from error
