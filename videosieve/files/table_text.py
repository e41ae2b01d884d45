"""Tables for other programs: CSV for a spreadsheet, Markdown for a page, LaTeX for a paper."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from videosieve.errors import OutputError
from videosieve.files.paths import is_folder
from videosieve.files.writing import check_name, write_text

Cells = Sequence[str | float | int | None]

_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {"×": r"$\times$", "÷": r"$\div$", "–": "--", "≥": r"$\geq$"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def check_table(path: Path | None, results: Path) -> Path | None:
    """Refuse a table's file before anything expensive happens.

    Args:
        path: Where the table is to go; None for none.
        results: The folder of the results, which is made if it is missing.

    Returns:
        The path.

    Raises:
        OutputError: Unknown ending, a missing folder, or a folder in the way.
    """
    if path is None:
        return None
    check_name(path)
    if path.suffix.lower() not in _WRITERS:
        raise OutputError(f"a table must end in {', '.join(_WRITERS)}; got {str(path)!r}")
    if path.parent != results and not is_folder(path.parent):
        raise OutputError(
            f"the folder {str(path.parent)!r} does not exist; make it first or choose another file"
        )
    if is_folder(path):
        raise OutputError(f"{str(path)!r} is a folder; give a file name inside it")
    return path


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Cells]) -> Path:
    """Write a table in the form that the ending names.

    Args:
        path: Ends in .csv, .md or .tex.
        columns: Names with their units.
        rows: Cells as they are to stand; None for what was not measured, a float in full.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, _WRITERS[path.suffix.lower()](columns, rows))
    return path


def _csv(columns: Sequence[str], rows: Sequence[Cells]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()


def _markdown(columns: Sequence[str], rows: Sequence[Cells]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    marks = ["---:" if _is_number(rows, index) else "---" for index in range(len(columns))]
    shown = [
        [re.sub(r"([|\\`*_<])", r"\\\1", " ".join(_short(cell).split())) for cell in row] for row in rows
    ]
    return "".join(map(line, [list(columns), marks, *shown]))


def _latex(columns: Sequence[str], rows: Sequence[Cells]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"  {' & '.join(map(_escaped, cells))} \\\\\n"

    marks = "".join("r" if _is_number(rows, index) else "l" for index in range(len(columns)))
    body = "".join(line([_short(cell) for cell in row]) for row in rows)
    return f"\\begin{{tabular}}{{{marks}}}\n  \\hline\n{line(columns)}  \\hline\n{body}  \\hline\n\\end{{tabular}}\n"


def _escaped(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


def _is_number(rows: Sequence[Cells], index: int) -> bool:
    return all(not isinstance(row[index], str) for row in rows)


def _short(cell: str | float | int | None) -> str:
    """Four digits are enough to read; a spreadsheet gets all of them."""
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


_WRITERS: dict[str, Callable[[Sequence[str], Sequence[Cells]], str]] = {
    ".csv": _csv,
    ".md": _markdown,
    ".tex": _latex,
}
