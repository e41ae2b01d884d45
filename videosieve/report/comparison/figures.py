"""The numbers of one method over all its videos, by name, for the table and the plots."""

from dataclasses import dataclass

from videosieve.report.comparison.statistics import Estimate, MethodSummary, estimate, summarise
from videosieve.report.results import ClipResult, Results


@dataclass(frozen=True, slots=True)
class Figures:
    """One method.

    Attributes:
        summary: Bounds, and the share of captions that came true.
        clips: Its videos.
    """

    summary: MethodSummary
    clips: list[ClipResult]

    @property
    def name(self) -> str:
        """Of the method."""
        return self.summary.method

    @property
    def kind(self) -> str:
        """ "baseline", "method" or "floor"."""
        return self.summary.kind

    def number(self, key: str) -> Estimate | None:
        """One number over the videos.

        Args:
            key: A field of `ClipResult`, "scores.NAME", or "bound", "reached" or "accuracy", which have no interval.

        Returns:
            The estimate, or None where nothing was measured.
        """
        if key in ("bound", "reached", "accuracy"):
            value = getattr(self.summary, key)
            return None if value is None else Estimate(value, None, None, len(self.clips))
        values = [_value(clip, key) for clip in self.clips]
        known = [float(value) for value in values if value is not None]
        return estimate(known) if known else None

    def middle(self, key: str) -> float | None:
        """The median alone."""
        number = self.number(key)
        return None if number is None else number.median

    def interval(self, key: str) -> tuple[float, float] | None:
        """The 95 % interval alone; None with too few videos."""
        number = self.number(key)
        return (
            (number.low, number.high)
            if number and number.low is not None and number.high is not None
            else None
        )


def all_figures(results: Results) -> list[Figures]:
    """The numbers of every method that has a video, in the order of the recipes."""
    return [Figures(summary, results.of_method(summary.method)) for summary in summarise(results)]


def _value(clip: ClipResult, key: str) -> float | None:
    return clip.scores.get(key.removeprefix("scores.")) if key.startswith("scores.") else getattr(clip, key)
