"""The journal: one JSON line a finished evaluation, on disk before the next begins, so that a search can be resumed."""

from pathlib import Path
from typing import Any

from videosieve.append_log import AppendLog, name_differences


class Journal(AppendLog):
    """The journal of one search, open and locked; see `AppendLog`.

    Args:
        path: The file; made if missing, its folder too.
        settings: Everything that decides what the figures mean, plain data.
    """

    kind = "journal"

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        super().__init__(path, {"settings": settings})

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What is finished, in order."""
        return self.lines

    def add(self, kind: str, **values: Any) -> None:
        """Note something finished; on disk when this returns."""
        self.append({"kind": kind, **values})

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The entries of one kind, in order."""
        return [entry for entry in self.lines if entry["kind"] == kind]

    @property
    def elapsed(self) -> float:
        """Seconds that the finished work took, over all runs."""
        return sum(entry.get("took", 0.0) for entry in self.lines)

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """Names the settings that differ."""
        changed = name_differences(theirs["settings"], ours["settings"])
        return f"holds a search with other settings ({changed}); repeat them to resume it"
