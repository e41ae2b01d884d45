"""Progress of a generation: what runs, step, density so far, time left of the video and of the whole."""

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn

from videosieve.cli.console import PlainColumn, err, note

if TYPE_CHECKING:
    from videosieve.generation.generate import Progress as Position

EVERY = 15.0
"""Seconds between two plain lines where there is no terminal."""


class GenerationBar:
    """One bar per video where stderr is a terminal, else a plain line every so often; use as a context manager.

    Args:
        shown: Whether this process is one that speaks.
    """

    def __init__(self, shown: bool = True) -> None:
        self._lines = shown and not err.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            PlainColumn("{task.description}"),
            BarColumn(bar_width=20),
            PlainColumn("{task.fields[note]}"),
            console=err,
            transient=True,
            disable=not (shown and err.is_terminal),
        )
        self._task = self._bars.add_task("starting", total=None, note="")
        self._name = "starting"
        self._said = time.monotonic()

    def __enter__(self) -> "GenerationBar":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, name: str, note: str) -> None:
        """A new video, or a stage whose length is unknown.

        Args:
            name: What is made.
            note: What runs now.
        """
        self._name = name
        self._bars.reset(self._task, total=None, description=name, note=note)
        self._line(note)

    def advance(self, position: "Position", whole: float | None = None, stage: str = "") -> None:
        """When denoising starts, and after every step of it.

        Args:
            position: Where the video is.
            whole: Seconds left of everything, where there is more than this video.
            stage: What the steps are of, where it is not the video.
        """
        note = f"{stage} {position_in_words(position, whole)}".strip()
        self._bars.update(self._task, completed=position.step, total=position.steps or None, note=note)
        self._line(note)

    def _line(self, text: str) -> None:
        if self._lines and time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            note(f"{self._name}: {text}")


def position_in_words(position: "Position", whole: float | None = None) -> str:
    """Steps that are done, density and time left, short enough for a line of 80 columns beside a name.

    Args:
        position: Where a video is.
        whole: Seconds left of everything; None where the video is all.
    """
    if position.steps and position.step == position.steps:
        words = f"{position.steps} steps done, decoding"
    elif position.seconds_left is None:
        words = f"0/{position.steps} steps" if position.steps else "the first step"
    else:
        words = (
            f"{position.step}/{position.steps} steps, density {position.density:.2f}, "
            f"{clock_words(position.seconds_left)} left"
        )
    return words if whole is None else f"{words}; {clock_words(whole)} in all"


def clock_words(seconds: float) -> str:
    """Minutes and seconds, hours before them where there are any: "2:05", "1:02:05"."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
