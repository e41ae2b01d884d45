"""Tables that are made row by row: what an earlier run left is gone on with, and other settings are refused."""

import json
from pathlib import Path
from typing import Any

from videosieve.bench.timing import describe_machine
from videosieve.files import write_text


def read_rows(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The results so far, or none; other settings are refused."""
    if not path.is_file():
        return {"schema": 1, "machine": describe_machine(), "settings": settings, "rows": []}
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["settings"] != settings:
        raise SystemExit(f"{path} was made with {results['settings']}, not {settings}; give another --output")
    return results


def write_rows(path: Path, results: dict[str, Any]) -> None:
    """Replace the file at once, so that a stop at any moment leaves whole rows."""
    write_text(path, json.dumps(results, indent=1) + "\n")
