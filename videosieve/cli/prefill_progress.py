"""Progress of a prefill: layers done."""

from collections.abc import Callable
from types import TracebackType

from rich.progress import BarColumn, Progress, SpinnerColumn, TimeElapsedColumn

from videosieve.cli.console import PlainColumn, err


class PrefillBar:
    """One bar, where stderr is a terminal; use as a context manager."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            PlainColumn("{task.description}"),
            BarColumn(bar_width=28),
            PlainColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bars.add_task("starting", total=None, note="")

    def __enter__(self) -> "PrefillBar":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, name: str) -> Callable[[int, int], None]:
        """Something new begins; the result is told layers done and layers in all."""
        self._bars.reset(self._task, total=None, description=name, note="")
        return self._advance

    def _advance(self, done: int, layers: int) -> None:
        self._bars.update(self._task, completed=done, total=layers, note=f"layer {done} of {layers}")
