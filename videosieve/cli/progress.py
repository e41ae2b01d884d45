"""Progress bars: step, density so far, time left."""

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn

from videosieve.cli.console import PlainColumn, err

if TYPE_CHECKING:
    from videosieve.generation.generate import Progress as Position


class GenerationBar:
    """One bar per video, where stderr is a terminal and this process is one that speaks; use as a context manager."""

    def __init__(self, shown: bool = True) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            PlainColumn("{task.description}"),
            BarColumn(bar_width=28),
            PlainColumn("{task.fields[note]}"),
            console=err,
            transient=True,
            disable=not (shown and err.is_terminal),
        )
        self._task = self._bars.add_task("starting", total=None, note="")

    def __enter__(self) -> "GenerationBar":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, name: str, note: str) -> None:
        """A new video, or a stage whose length is unknown."""
        self._bars.reset(self._task, total=None, description=name, note=note)

    def advance(self, position: "Position") -> None:
        """After a denoising step."""
        minutes, seconds = divmod(round(position.seconds_left), 60)
        done = f"step {position.step}/{position.steps}  density {position.density:.2f} so far"
        note = f"{done}  {minutes}:{seconds:02d} left"
        self._bars.update(self._task, completed=position.step, total=position.steps, note=note)
