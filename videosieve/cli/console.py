"""Where text goes: results to stdout, progress and errors to stderr."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import Task, TextColumn
from rich.table import Table
from rich.text import Text

from videosieve.visible import visible

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line to stdout, as it is: nothing in it is markup, and no control character reaches the terminal."""
    out.print(visible(text), markup=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """One line to stderr, as it is."""
    err.print(visible(text), markup=False, emoji=False, soft_wrap=True)


def complain(text: str) -> None:
    """One red line to stderr."""
    err.print(visible(" ".join(text.split())), style="red", markup=False, emoji=False, soft_wrap=True)


class PlainTable(Table):
    """A table whose cells show text as it is; a cell that is to be styled is a rich `Text`."""

    def add_row(self, *cells: RenderableType | None, style: Any = None, end_section: bool = False) -> None:
        plain = (Text(visible(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def mark(yes: bool) -> Text:
    """ "yes" in green or "no" in yellow."""
    return Text("yes", "green") if yes else Text("no", "yellow")


class PlainColumn(TextColumn):
    """A column of a progress bar that shows text as it is."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)

    def render(self, task: Task) -> Text:
        return Text(visible(self.text_format.format(task=task), keep=""))


def command_line() -> str:
    """What the user typed, as a shell would take it again; empty where the command line was not videosieve's."""
    name, *words = sys.argv
    mine = Path(name).stem == "videosieve" or Path(name).parts[-2:] == ("videosieve", "__main__.py")
    return shlex.join(["videosieve", *words]) if mine else ""


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> PlainTable:
    """A table without a box; the named columns are aligned to the right, the first one is never broken, and
    of the others a word that is too long, a path for instance, is: nothing is cut off."""
    table = PlainTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        justify = "right" if column in right else "left"
        table.add_column(
            Text(visible(column)), justify=justify, no_wrap=column == columns[0], overflow="fold"
        )
    return table


def listed(lines: Sequence[tuple[str, str]]) -> None:
    """A name and a sentence per line; what is too long for a terminal ends in an ellipsis, in a file it is whole.

    Args:
        lines: Names, and what is said of them.
    """
    width = max(map(len, (name for name, _ in lines)), default=0)
    for name, sentence in lines:
        room = max(out.width - width - 2, 20)
        whole = not out.is_terminal or len(sentence) <= room
        say(f"{name:<{width}}  {sentence if whole else sentence[: room - 1].rstrip() + '…'}")


def paragraph(text: str, indent: str = "") -> None:
    """Text in lines as wide as the terminal, at most 100; words are never broken.

    Args:
        text: What to say.
        indent: Before every line.
    """
    say(
        fill(
            " ".join(text.split()), min(out.width, 100), initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )
    )  # fmt: skip


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def scaled(value: float, unit: str, step: int = 1000) -> str:
    """Four digits of a large quantity with the prefix that fits: "10.45 PFLOPs"; with a step of 1024, "74.9 MiB"."""
    binary = "i" if step == 1024 else ""
    power = next((power for power in (5, 4, 3) if value >= step**power), 2)
    return f"{value / step**power:.4g} {'KMGTP'[power - 1]}{binary}{unit}"
