"""A log that work is resumed from: JSON lines behind a header, appended under a lock, on disk before the work goes on.

The first line says what the work is, so that other work is refused instead of mixed in. A kill can tear the last line
only, and what was not written whole is left out; a full disk tears nothing, the half line is taken back.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from videosieve.errors import OutputError
from videosieve.files.json_text import parse_json
from videosieve.files.locks import Claim
from videosieve.files.paths import reason_of
from videosieve.files.text import decode, lines_of
from videosieve.files.writing import is_full, sweep

Log = TypeVar("Log", bound="AppendLog")


class AppendLog:
    """A log of one piece of work, open and locked. A subclass says what it is called and what its lines mean.

    Attributes:
        kind: What the log is called, in messages and as the key of the version in its header.
        version: Of the lines; a log of another one is refused.
        elsewhere: The way out where this file cannot be used.
        path: The file.
        lines: What was noted so far, by earlier runs too, in order.

    Args:
        path: The file; made if missing, its folder too.
        header: What decides what the lines mean, plain data.

    Raises:
        OutputError: The file holds other work or is of another version, another process works on it, or it cannot be
            read or written.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    elsewhere: ClassVar[str] = "choose another output"

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        self._header = json.loads(json.dumps({self.kind: self.version, **header}))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable("cannot be written", error) from None
        sweep(path.parent)
        self._claim = Claim(path.parent, path.name, self.elsewhere)
        try:
            self._open()
        except BaseException:
            self._claim.release()
            raise

    def __enter__(self: Log) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as cause:  # some network disks say only now that they are full
            if error is None:
                raise self._unusable("cannot be written", cause) from cause
        finally:
            self._claim.release()

    def append(self, line: dict[str, Any]) -> None:
        """Note something; on disk when this returns."""
        self._write(line)
        self.lines.append(line)

    def check(self, line: dict[str, Any]) -> None:
        """Refuse a line that is none of this log's, by any error; for logs to override."""
        del line

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """What to tell the user about a header, read from the file, that differs from the one of this work."""
        raise NotImplementedError

    def _open(self) -> None:
        try:
            self._file = self.path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
        except OSError as error:
            raise self._unusable("cannot be written", error) from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.readall()
        whole = content.rfind(b"\n") + 1
        if not whole and not self._header_was_torn(content):
            raise self._unusable(f"is no {self.kind}")
        if whole < len(content):
            try:
                self._file.truncate(whole)
            except OSError as error:
                raise self._unusable("cannot be written", error) from None
        if not whole:
            self._write(self._header)
            return
        try:
            text = decode(content[:whole], "it", OutputError)
            header, *lines = (
                parse_json(line, f"line {number}", OutputError)
                for number, line in enumerate(lines_of(text), start=1)
            )
        except OutputError as error:
            raise self._unusable(f"is no {self.kind}", error) from None
        self._require_same(header)
        for number, line in enumerate(lines, start=2):
            self._require_whole(number, line)
        self.lines = lines

    def _require_whole(self, number: int, line: Any) -> None:
        try:
            if not isinstance(line, dict):
                raise TypeError("it must be a JSON object")
            self.check(line)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise OutputError(
                f"{str(self.path)!r} is damaged: line {number} is no entry of a {self.kind} ({what}); delete the line, "
                f"or {self.elsewhere}"
            ) from None

    def _header_was_torn(self, content: bytes) -> bool:
        begin = json.dumps({self.kind: self.version}).encode()[
            :-1
        ]  # what every header of this log begins with
        return content.startswith(begin) or begin.startswith(content)

    def _require_same(self, header: Any) -> None:
        if not isinstance(header, dict) or header.get(self.kind) != self.version:
            raise self._unusable(f"is not a {self.kind} of version {self.version}")
        if header == self._header:
            return
        try:
            differs = self.explain(header, self._header)
        except (LookupError, TypeError, AttributeError):  # the header itself is damaged
            raise self._unusable(f"has a first line that is none of a {self.kind}") from None
        raise OutputError(f"{str(self.path)!r} {differs}; or {self.elsewhere}")

    def _write(self, line: dict[str, Any]) -> None:
        content, before = json.dumps(line).encode() + b"\n", os.fstat(self._file.fileno()).st_size
        try:
            left = memoryview(content)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(before)
            raise self._unusable("cannot be written", error) from error

    def _unusable(self, what: str, error: Exception | None = None) -> OutputError:
        reason = "" if error is None else f" ({reason_of(error)})"
        if is_full(error):
            safe = f"its {len(self.lines)} entries are safe; make room, and the same command goes on"
            return OutputError(f"{str(self.path)!r} {what}{reason}; {safe}, or {self.elsewhere}")
        return OutputError(f"{str(self.path)!r} {what}{reason}; {self.elsewhere}")


def name_differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The keys whose values differ, and what the first of them was and is: "steps, seed: steps was 20 and is 30"."""
    changed = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    first = changed[0]
    return f"{', '.join(changed)}: {first} was {theirs.get(first)!r} and is {ours.get(first)!r}"
