"""The manifest: one JSON line an event, so that a killed run resumes and loses nothing.

A job is finished when its video exists, since a video gets its name only when it is whole; the manifest adds seconds,
density and the reasons of failures.
"""

from pathlib import Path
from typing import Any

from videosieve.batch.jobs import Job, Order, Outcome
from videosieve.errors import OutputError
from videosieve.fields import from_table
from videosieve.files import AppendLog


class Manifest(AppendLog):
    """The manifest of one run, open and locked; see `AppendLog`.

    Attributes:
        outcomes: Last outcome of every job that had one, by number.

    Args:
        path: The file; made if missing.
        order: What all jobs share.
        jobs: The jobs of this run.
    """

    kind = "manifest"
    elsewhere = "choose another folder, or give every process a shard of its own"

    def __init__(self, path: Path, order: Order, jobs: list[Job]) -> None:
        super().__init__(path, {"fingerprint": order.fingerprint(jobs), "jobs": len(jobs)})
        self.outcomes = {line["number"]: Outcome(**line) for line in self.lines}

    def check(self, line: dict[str, Any]) -> None:
        """Every line is an outcome."""
        from_table(Outcome, line, "it", OutputError)

    def add(self, outcome: Outcome) -> None:
        """Note an outcome; on disk when this returns."""
        self.append(outcome.as_json())
        self.outcomes[outcome.number] = outcome

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """Counts the jobs and gives both digests."""
        was, now = (f"{header['jobs']} jobs, {header['fingerprint']}" for header in (theirs, ours))
        return (
            f"belongs to other prompts or settings ({was}) than these ({now}); repeat them exactly to resume"
        )
