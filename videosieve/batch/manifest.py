"""The manifest: one JSON line an event, appended and flushed to disk, so that a killed run resumes and loses nothing.

The first line says what the run is. A job is finished when its video exists, since a video gets its name only when it
is whole; the manifest adds seconds, density and the reasons of failures. A torn last line is left out.
"""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from videosieve.batch.jobs import Job, Order, Outcome
from videosieve.errors import OutputError

VERSION = 1


class Manifest:
    """The manifest of one run, open and locked.

    Attributes:
        outcomes: Last outcome of every job that had one, by number.

    Args:
        path: The file; made if missing.
        order: What all jobs share.
        jobs: The jobs of this run.

    Raises:
        OutputError: The file belongs to another batch or version, another process works on it, or it cannot be
            written.
    """

    def __init__(self, path: Path, order: Order, jobs: list[Job]) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._path = path
        self._head = {"manifest": VERSION, "fingerprint": order.fingerprint(jobs), "jobs": len(jobs)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
        try:
            self._lock()
            self._read()
        except OutputError:
            self._file.close()
            raise

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Note an outcome; on disk when this returns."""
        self.outcomes[outcome.number] = outcome
        self._append(outcome.as_json())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another process works on {str(self._path)!r}; wait for it, or give this one a shard of its own"
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
            head, *events = (json.loads(line) for line in lines)
        except json.JSONDecodeError as error:
            raise OutputError(
                f"{str(self._path)!r} is no manifest ({error}); choose another folder"
            ) from error
        self._require_same(head)
        for event in events:
            self.outcomes[event["number"]] = Outcome(**event)

    def _require_same(self, head: Any) -> None:
        if not isinstance(head, dict) or head.get("manifest") != VERSION:
            raise OutputError(
                f"{str(self._path)!r} is not a manifest of version {VERSION}; finish it with the version that wrote "
                f"it, or choose another folder"
            )
        if head != self._head:
            theirs, ours = (f"{h['jobs']} jobs, {h['fingerprint']}" for h in (head, self._head))
            raise OutputError(
                f"{str(self._path)!r} belongs to other prompts or settings ({theirs}) than these ({ours}); repeat them "
                f"exactly to resume, or choose another folder"
            )

    def _append(self, event: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {str(self._path)!r}: {error.strerror or error}") from error
