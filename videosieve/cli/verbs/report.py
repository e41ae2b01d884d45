"""`videosieve report`: draw the page again."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli.console import say


def report(
    folder: Annotated[
        Path, typer.Argument(help="A folder that `videosieve compare` or `sweep` wrote.", show_default=False)
    ],
) -> None:
    """Draw report.html again from results.json and the videos beside it; needs no model.

    videosieve report comparison
    """
    from videosieve.report import write_report

    say(f"open {write_report(folder)}")
