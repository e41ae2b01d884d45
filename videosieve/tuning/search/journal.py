"""The journal: one JSON line a finished evaluation, on disk before the next begins, so that a search can be resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from videosieve.errors import OutputError
from videosieve.fields import checked
from videosieve.files import AppendLog, name_differences
from videosieve.tuning.search.candidates import Candidate, Family
from videosieve.tuning.search.points import Point
from videosieve.tuning.search.screen import Screen


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

    def check(self, line: dict[str, Any]) -> None:
        """Every line has a kind and the seconds that it took; points and screenings can be read back."""
        checked("kind", line["kind"], str, OutputError)
        if not isinstance(line.get("took", 0.0), int | float):
            raise TypeError("took must be seconds")
        readers: dict[str, Callable[[], object]] = {
            "point": lambda: Point.from_json(line["point"]),
            "screen": lambda: (
                [Family.from_json(family) for family in line["families"]],
                Screen.from_json(line["screen"]),
            ),
            "turn": lambda: [
                (row["candidate"], Candidate.from_json(row["candidate"]), line["video"])
                for row in line["rows"]
            ],
            "tables": lambda: [Family.from_json(family) for family in line["families"]],
            "looked": lambda: [_looked(line["step"], row) for row in line["rows"]],
            "recall": lambda: Candidate.from_json(line["candidate"]),
        }
        readers.get(line["kind"], lambda: None)()

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """Names the settings that differ."""
        changed = name_differences(theirs["settings"], ours["settings"])
        return f"holds a search with other settings ({changed}); repeat them to resume it"


def _looked(step: int, row: dict[str, Any]) -> None:
    """A row of a screened step: whose it is, errors and recalls by layer, costs and densities."""
    names = {"step": (step, int), "family": (row["family"], str), "knob": (row["knob"], float)}
    for name, (value, kind) in names.items():
        checked(name, value, kind, OutputError)
    for key in ("error", "recall"):
        checked(key, row[key], list[tuple[int, float]], OutputError)
    for key in ("cost", "density"):
        checked(key, row[key], list[float], OutputError)
