"""Tables as CSV: commas, or the semicolons and tabs that spreadsheets of many countries write."""

import csv
import io
from pathlib import Path

from videosieve.errors import VideosieveError
from videosieve.fields import shown
from videosieve.files.text import read_text

DELIMITERS = (",", ";", "\t")


def read_csv(path: str | Path, what: str, error: type[VideosieveError]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table with a line of column names.

    The separator is the one of comma, semicolon and tab that the line of names holds most of; names are taken without
    spaces around them. Cells may hold quoted line ends.

    Args:
        path: The file.
        what: What it is to the reader: "the prompts", …
        error: What to raise.

    Returns:
        Line number of the row's end, from 1, and cells by name. Empty rows are left out.

    Raises:
        VideosieveError: Of the class `error`: it cannot be read, a quote is not closed, a row has more cells than
            there are columns, or a column has no name or comes twice.
    """
    where = f"{what} {str(path)!r}"
    text = read_text(path, what, error)
    head = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(names, where, error)
        rows = []
        for cells in reader:
            if len(cells) > len(names):
                raise error(
                    f"cannot read {where}: line {reader.line_num} has {len(cells)} cells for {len(names)} columns; "
                    f"put quotes around a cell that holds {delimiter!r}"
                )
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, dict(zip(names, cells, strict=False))))
    except csv.Error as cause:
        raise error(f"cannot read {where}: line {reader.line_num} is not CSV, {cause}") from None
    return rows


def _check_names(names: list[str], where: str, error: type[VideosieveError]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        raise error(
            f"cannot read {where}: it must begin with a line of column names, each once; got {shown(names)}"
        )
