"""What a person sees of a running tune: where it is, how long it has, and what nobody has beaten so far."""

import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from videosieve.cli.console import err, note, number, plain_table
from videosieve.visible import visible

if TYPE_CHECKING:
    from videosieve.tuning.outcome import Moment
    from videosieve.tuning.search import Goal, Point

SHOWN = 12  # rows of the front


class TuneScreen:
    """Redrawn in place where stderr is a terminal; elsewhere a line per measurement. Use as a context manager.

    Args:
        goal: What is tuned for.
    """

    def __init__(self, goal: "Goal") -> None:
        self._goal = goal
        self._stage = ""
        self._shown: Text | Moment = Text("")
        self._since = time.monotonic()
        self._live = Live(console=err, transient=True, get_renderable=self._picture, refresh_per_second=2)

    def __enter__(self) -> "TuneScreen":
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if err.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """A stage without parts."""
        self._draw(Text(visible(text)))

    def show(self, moment: "Moment") -> None:
        """Where the tune is."""
        if not err.is_terminal:
            if moment.fresh is not None:
                note(self._line(moment.fresh))
            elif moment.stage != self._stage:
                note(moment.stage)
            self._stage = moment.stage
            return
        self._draw(moment)

    def _line(self, point: "Point") -> str:
        given_up = (
            "" if point.complete else f" (given up after {len(point.psnrs)} of {point.prompts} prompts)"
        )
        return f"{point.speedup:.2f}×, PSNR {point.psnr:.2f} dB{given_up}: {point.candidate.words()}"

    def _draw(self, what: "Text | Moment") -> None:
        self._shown, self._since = what, time.monotonic()
        if err.is_terminal:
            self._live.refresh()

    def _picture(self) -> Text | Group:
        """What stands there now; the clock goes on while nothing is told."""
        if isinstance(self._shown, Text):
            return self._shown
        waited = time.monotonic() - self._since
        return picture(replace(self._shown, seconds=self._shown.seconds + waited), self._goal)


def picture(moment: "Moment", goal: "Goal") -> Group:
    """The lines of the screen.

    Args:
        moment: Where the tune is.
        goal: What is tuned for.

    Returns:
        Something rich can print, readable in 80 columns.
    """
    from videosieve.tuning.search import pareto_front

    spent, budget = (f"{int(x) // 60}:{int(x) % 60:02d}" for x in (moment.seconds, moment.budget))
    parts = f" {moment.done}/{moment.total}" if moment.total else ""
    head = f"{goal.words()}   {moment.stage}{parts}   {spent} of {budget}   {len(moment.points)} measured"
    lines: list[Text | Table] = [
        Text(visible(head), style="bold", overflow="ellipsis", no_wrap=True),
        Text(visible(f"now: {moment.detail}"), overflow="ellipsis", no_wrap=True),
    ]
    front = pareto_front(moment.points, goal.quality_of)[-SHOWN:]
    if front:
        lines.append(front_table(front, goal))
    return Group(*lines)


def front_table(front: list["Point"], goal: "Goal") -> Table:
    """What nobody beats, the fastest last; what meets the target in bold."""
    quality = "recall" if goal.quality == "recall" else "PSNR"
    columns = ("speed-up", quality, "worst", "density")
    table = plain_table(*columns, "recipe", right=columns)
    for column, name in zip(table.columns, columns, strict=False):
        column.min_width, column.no_wrap = len(name), True  # figures stay whole, the recipe gives way
    table.columns[-1].no_wrap = True
    table.columns[-1].overflow = "ellipsis"
    for point in front:
        worst = min(point.recalls) if quality == "recall" else point.worst
        digits = 3 if quality == "recall" else 1
        figures = (number(goal.quality_of(point), digits), number(worst, digits), number(point.run_density))
        style = "bold" if goal.met(point) else "dim"
        table.add_row(number(point.speedup), *figures, point.candidate.words(), style=style)
    return table
