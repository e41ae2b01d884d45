"""What was measured of one recipe, and which of them nobody beats."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any

from videosieve.tuning.search.candidates import Candidate

SPREAD = {"psnr": 3.0, "recall": 0.03}
"""How far one prompt may lie above what its fellows suggest, before a candidate is given up."""


@dataclass(frozen=True, slots=True)
class Point:
    """Full generations with one candidate.

    Attributes:
        candidate: What was run.
        psnrs: Mean PSNR over the frames against the dense video, dB, of every prompt that was run.
        recalls: Mean recall over the sparse calls of the same videos; empty where it was not measured.
        seconds: Wall time of every pipeline call.
        dense_seconds: Of the dense calls made before and after.
        run_density: Computed query–key pairs ÷ all pairs, dense steps and layers included; mean over videos.
        prompts: Prompts of a complete measurement.
    """

    candidate: Candidate
    psnrs: tuple[float, ...]
    recalls: tuple[float, ...]
    seconds: tuple[float, ...]
    dense_seconds: tuple[float, ...]
    run_density: float
    prompts: int

    @property
    def complete(self) -> bool:
        """Whether every prompt was run."""
        return len(self.psnrs) == self.prompts

    @property
    def psnr(self) -> float:
        """Mean over the prompts, dB."""
        return fmean(self.psnrs)

    @property
    def worst(self) -> float:
        """PSNR of the worst prompt, dB."""
        return min(self.psnrs)

    @property
    def recall(self) -> float | None:
        """Mean over the prompts; None where it was not measured."""
        return fmean(self.recalls) if self.recalls else None

    @property
    def speedup(self) -> float:
        """Mean dense seconds around it ÷ mean seconds."""
        return fmean(self.dense_seconds) / fmean(self.seconds)

    @property
    def by_turns(self) -> float:
        """Median of dense ÷ own seconds, video by video, where every video has its own dense seconds."""
        return median(dense / own for dense, own in zip(self.dense_seconds, self.seconds, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Point":
        """What `as_json` wrote."""
        lists = ("psnrs", "recalls", "seconds", "dense_seconds")
        rest = {key: tuple(value) if key in lists else value for key, value in values.items()}
        return cls(**{**rest, "candidate": Candidate.from_json(values["candidate"])})


def pareto_front(points: Iterable[Point], quality: Callable[[Point], float]) -> list[Point]:
    """The complete points that no other beats in both speed and quality, the fastest last.

    Args:
        points: Any points; incomplete ones are left out.
        quality: What counts beside the speed-up, larger is better.

    Returns:
        A subset, quality falling as the speed-up rises.
    """
    front: list[Point] = []
    whole = [point for point in points if point.complete]
    for point in sorted(whole, key=lambda point: (-point.speedup, -quality(point))):
        if not front or quality(point) > quality(front[-1]):
            front.append(point)
    return front[::-1]


def prompt_offsets(points: Iterable[Point], quality: str) -> list[float]:
    """How far each prompt lies from the mean of its candidate, on average over the complete points.

    Args:
        points: Any points.
        quality: "psnr" or "recall".

    Returns:
        One number a prompt, adding up to about 0; empty without a complete point.
    """
    rows = [getattr(point, f"{quality}s") for point in points if point.complete]
    rows = [row for row in rows if row]
    return [fmean(row[i] - fmean(row) for row in rows) for i in range(len(rows[0]))] if rows else []


def estimate(values: tuple[float, ...], offsets: list[float]) -> float:
    """The mean over all prompts as the first ones suggest.

    Args:
        values: Measured quality of the first prompts, at least one.
        offsets: As from `prompt_offsets`; may be empty.

    Returns:
        The mean, each value freed of what its prompt usually adds.
    """
    return fmean(value - (offsets[i] if i < len(offsets) else 0.0) for i, value in enumerate(values))


def lower_bound(values: Sequence[float]) -> float:
    """What the mean over all videos of this kind is at least, with 95 % confidence, if they spread normally.

    Args:
        values: Quality of different videos, at least one.

    Returns:
        mean − t · standard deviation ÷ √count with Student's t; of a single value, which has no spread, the value.
    """
    if len(values) < 2:
        return values[0]
    return fmean(values) - student_t(len(values) - 1) * stdev(values) / sqrt(len(values))


def margin_for(points: Iterable[Point], quality: str, videos: int) -> float:
    """How far above a target a search has to aim, so that `lower_bound` will reach it on so many videos.

    Args:
        points: Everything measured so far.
        quality: "psnr" or "recall".
        videos: On which the bound will be taken.

    Returns:
        t · typical standard deviation between videos ÷ √videos; 0 where no spread is known.
    """
    rows = [getattr(point, f"{quality}s") for point in points if point.complete]
    spreads = [stdev(row) for row in rows if len(row) > 1]
    return student_t(videos - 1) * median(spreads) / sqrt(videos) if spreads and videos > 1 else 0.0


_T95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
_Z95 = 1.6449


def student_t(freedom: int) -> float:
    """95 % quantile of Student's t with so many degrees of freedom, >= 1.

    Beyond the table by the Cornish–Fisher expansion, Abramowitz and Stegun 26.7.5.
    """
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = _Z95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
