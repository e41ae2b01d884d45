"""What a comparison shows while it runs: which run of how many, where it is, and the time left of all of them."""

import time
from typing import TYPE_CHECKING

from videosieve.cli.console import note
from videosieve.cli.progress import GenerationBar

if TYPE_CHECKING:
    from videosieve.comparison.compare import Stage
    from videosieve.report import ClipResult


class ComparisonScreen:
    """Turns the stages of a comparison into lines of a bar.

    Args:
        bar: Where they are shown.
    """

    def __init__(self, bar: GenerationBar) -> None:
        self._bar = bar
        self._warm: list[str] = []
        self._run = -1
        self._began = 0.0
        self._took: list[float] = []

    def show(self, stage: "Stage") -> None:
        """Where the comparison is."""
        if not stage.timed:
            self._show_warm_up(stage)
            return
        if stage.progress is not None:
            self._bar.advance(stage.progress, self._left(stage, stage.progress.seconds_left))
            return
        name = f"{stage.method} ({stage.video + 1} of {stage.videos})"
        if stage.result is not None:
            self._bar.begin(name, "measuring and writing")
            note(one_line(stage.result))
            return
        self._turn(stage.video)
        self._bar.begin(name, "reading the prompt")

    def _show_warm_up(self, stage: "Stage") -> None:
        if stage.progress is not None:
            self._bar.advance(stage.progress, stage="warm-up,")
            return
        self._warm.append(stage.method)
        self._bar.begin(f"{stage.method} (warm-up {len(self._warm)})", "two steps that are thrown away")

    def _turn(self, run: int) -> None:
        now = time.monotonic()
        if self._run >= 0 and run > self._run:
            self._took.append((now - self._began) / (run - self._run))
        self._run, self._began = run, now

    def _left(self, stage: "Stage", seconds: float | None) -> float | None:
        """Seconds left of everything: this run, and for every later one the mean of those behind us."""
        later = stage.videos - stage.video - 1
        if seconds is None or not later:
            return None
        own = time.monotonic() - self._began + seconds
        known = self._took or [own]
        return seconds + later * sum(known) / len(known)


def one_line(clip: "ClipResult") -> str:
    """A finished video: seconds, run density, speed-up and PSNR."""
    against = "" if clip.psnr is None else f", {clip.speedup:.2f}×, PSNR {clip.psnr:.1f} dB"
    return f"{clip.method}: {clip.seconds:.1f} s, run density {clip.run_density:.2f}{against}"
