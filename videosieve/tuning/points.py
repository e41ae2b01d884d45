"""What was measured of one recipe, and which of them nobody beats."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from videosieve.tuning.candidates import Candidate

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

    def speedup_with(self, pairs: Iterable[tuple[float, float]]) -> float:
        """Median of the speed-up and of further dense ÷ own seconds."""
        return median([self.speedup, *(dense / own for dense, own in pairs)])

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
