"""Draws the rooms of the package and what they import, from the imports themselves: docs/images/rooms.svg.

python -m docs.rooms    # writes the picture and the table of rooms in docs/architecture.md

A room is a folder of `videosieve`, or a file that stands alone; `tuning/search` has a floor of its own. A line goes
down from a room to one that it imports. Where a room reaches another through a third the direct line is left out.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

from docs.rooms_layout import draw, layers_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "videosieve"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: written by python -m docs.rooms -->\n", "<!-- end of rooms -->\n"
OWN_FLOOR = ("tuning/search",)
NO_ROOMS = ("__init__", "__main__", "version")  # two import everything, and a number is no subject

# What may be touched in a room, and what to keep in mind there.
TOUCH = {
    "atlas": "what is noted of a dense call, and how kinds of heads are named; the picture is in `report/pictures`",
    "batch": "formats of prompts, executors; a manifest line, once written, keeps its meaning",
    "bench": "what is timed and how, and what doctor --check asks of a kernel; figures go into docs with their command",
    "cli": "a verb is a file in `verbs`, its options from `options.py`; logic belongs to the room of its name",
    "comparison": "what is run, what a clip is measured by; `ledger.py` says what a resumed run may keep",
    "concepts": "formulas of saliency, with their papers; nothing of a model",
    "fields": "what an annotation can say and how a value is held against it; no field of any one class",
    "files": "how a format is read, how files are written and locked; what values mean is checked where they are used",
    "generation": "how a pipeline is found and asked, what is written; no comparison, no cost, no search",
    "inspection": "what is kept of an attention map; nothing of a model, never S × S",
    "integrations": "a model is a row in `diffusers/models/families`; the seam copies and patches nothing of a model",
    "judging": "how a video is read back and scored; old scores are only comparable while this stays",
    "kernels": "an implementation of an op, held to its `reference.py`; the meaning of an op only with all of them",
    "masks": "what a block mask is; every kernel reads it",
    "methods": "a paper is a file; what several share is in `geometry`, `estimates` and `selection.py`",
    "metrics": "a metric with its source, entered in `registry.py`; a published number keeps its definition",
    "planning": "blueprints of models, how costs are counted, what doctor looks at; no weights are read",
    "prefill": "how language models are found and prefilled, and what a prefill is measured by",
    "report": "pages, tables, pictures, all from files alone; `results.py` is versioned, old results stay readable",
    "scenes": "the layout of pictures with masks, which people have on disk; what is scored and ablated on them",
    "schedule": "when a step is dense, sparse or reused; a schedule sees a site and nothing else",
    "shapes": "`world` and the codec are fixed with the weights; `training` may change, exact resumption stays",
    "testing": "builders, oracles and tolerances that tests share; nothing of the library imports it",
    "tuning": "how candidates are screened, measured and checked on a model",
    "tuning/search": "what is tried next and why; plain numbers, no model",
}  # fmt: skip


def room_of(path: Path) -> str:
    """The room of a file of the package."""
    place = path.relative_to(PACKAGE).with_suffix("").as_posix()
    return next((room for room in OWN_FLOOR if place.startswith(f"{room}/")), place.split("/")[0])


def imported(path: Path) -> set[Path]:
    """The files of the package that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {file for name in names if (file := _file_of(name)) is not None}
    return found


def _file_of(name: str) -> Path | None:
    """The file of a module, or of the one that holds the name; None outside the package."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    for place in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def read_rooms() -> dict[str, set[str]]:
    """Every room, and the rooms that it imports."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        if (room := room_of(path)) not in NO_ROOMS:
            others = {room_of(file) for file in imported(path)} - {room, *NO_ROOMS}
            rooms[room] |= others
    return dict(rooms)


def needed_lines(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that no path through a third room stands for."""
    below: dict[str, set[str]] = {}
    for room in sorted(rooms, key=layers_of(rooms).__getitem__):
        below[room] = rooms[room].union(*(below[other] for other in rooms[room]))
    return {
        room: {other for other in others if not any(other in below[third] for third in others)}
        for room, others in rooms.items()
    }


def write_table(rooms: dict[str, set[str]]) -> str:
    """The table of rooms that are folders: the sentence of its `__init__.py`, and what may be touched there."""
    lines = ["| room | what it is | what may be touched there |", "| --- | --- | --- |"]
    for room in sorted(room for room in rooms if (PACKAGE / room).is_dir()):
        start = PACKAGE / room / "__init__.py"
        sentence = (
            ast.get_docstring(ast.parse(start.read_text(encoding="utf-8"))) if start.is_file() else None
        )
        sentence = sentence or "Builders, oracles and tolerances: what tests, benchmarks and examples share."
        lines.append(f"| `{room}/` | {' '.join(sentence.split(chr(10) * 2)[0].split())} | {TOUCH[room]} |")
    return "\n".join(lines) + "\n"


def fresh_page(page: str, rooms: dict[str, set[str]]) -> str:
    """The page with its table of rooms written anew."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: BEGIN + write_table(rooms) + END, page, flags=re.S
    )


def main() -> None:
    """Write picture and table."""
    rooms = read_rooms()
    folders = {room for room in rooms if (PACKAGE / room).is_dir()}
    PICTURE.write_text(draw(needed_lines(rooms), folders), encoding="utf-8")
    PAGE.write_text(fresh_page(PAGE.read_text(encoding="utf-8"), rooms), encoding="utf-8")


if __name__ == "__main__":
    main()
