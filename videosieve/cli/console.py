"""Where text goes: results to stdout, progress and errors to stderr."""

import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line to stdout, as it is."""
    out.print(text, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """One red line to stderr."""
    err.print(" ".join(text.split()), style="red", markup=False, soft_wrap=True)


def command_line() -> str:
    """What the user typed, as a shell would take it again; empty where the command line was not videosieve's."""
    name, *words = sys.argv
    mine = Path(name).stem == "videosieve" or Path(name).parts[-2:] == ("videosieve", "__main__.py")
    return shlex.join(["videosieve", *words]) if mine else ""


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without a box; the named columns are aligned to the right, the first one is never broken, and
    of the others a word that is too long, a path for instance, is: nothing is cut off."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        justify = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=column == columns[0], overflow="fold")
    return table


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def scaled(value: float, unit: str, step: int = 1000) -> str:
    """Four digits of a large quantity with the prefix that fits: "10.45 PFLOPs"; with a step of 1024, "74.9 MiB"."""
    binary = "i" if step == 1024 else ""
    power = next((power for power in (5, 4, 3) if value >= step**power), 2)
    return f"{value / step**power:.4g} {'KMGTP'[power - 1]}{binary}{unit}"
