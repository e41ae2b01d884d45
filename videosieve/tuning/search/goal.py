"""What is wanted: a quality at the least time, or a speed at the best quality."""

from dataclasses import dataclass
from typing import Annotated

from videosieve.errors import RecipeError
from videosieve.fields import In, check_fields
from videosieve.tuning.search.points import Point, lower_bound

RANGES = {"psnr": (0.0, 100.0), "recall": (0.0, 1.0), "speedup": (1.0, 1e3)}


@dataclass(frozen=True, slots=True)
class Goal:
    """Exactly one of three targets.

    Attributes:
        psnr: Least mean PSNR against the dense videos, dB, in (0, 100).
        recall: Least mean softmax mass inside the kept blocks over the sparse calls, in (0, 1].
        speedup: Least dense seconds ÷ seconds, above 1; PSNR is then made as large as possible.

    Raises:
        RecipeError: None or several are given, or a value lies outside its range.
    """

    psnr: Annotated[float, In("(0, 100)", "must be a number above 0 and below 100 dB")] | None = None
    recall: Annotated[float, In("(0, 1]", "must be a number above 0 and up to 1")] | None = None
    speedup: Annotated[float, In("(1, 1000)", "must be a number above 1 and below 1000")] | None = None

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        given = {key: getattr(self, key) for key in RANGES if getattr(self, key) is not None}
        if len(given) != 1:
            raise RecipeError(
                f"tune needs one target, psnr (dB), recall or speedup, got {', '.join(given) or 'none'}; "
                f"for example --psnr 30"
            )

    @property
    def name(self) -> str:
        """ "psnr", "recall" or "speedup"."""
        return next(key for key in RANGES if getattr(self, key) is not None)

    @property
    def target(self) -> float:
        """The value that must be reached."""
        return float(getattr(self, self.name))

    @property
    def quality(self) -> str:
        """The quality that is measured: "psnr" or "recall"."""
        return "recall" if self.name == "recall" else "psnr"

    def words(self) -> str:
        """The goal for people."""
        shown = {"psnr": f"PSNR ≥ {self.target:g} dB", "recall": f"recall ≥ {self.target:g}"}
        return shown.get(self.name, f"speed-up ≥ {self.target:g}")

    def quality_of(self, point: Point) -> float:
        """The measured quality of a point."""
        value = point.recall if self.quality == "recall" else point.psnr
        return float("-inf") if value is None else value

    def raised(self, margin: float) -> "Goal":
        """The same quality wanted with a margin, still inside its range; a wanted speed stays as it is."""
        if self.name == "speedup" or margin <= 0:
            return self
        top = RANGES[self.name][1] * (1.0 if self.name == "recall" else 0.99)
        return Goal(**{self.name: min(self.target + margin, max(top, self.target))})

    def sure(self, *points: Point) -> bool:
        """Whether the mean over all videos is at least the target with 95 % confidence, by these points together."""
        if self.name == "speedup":
            return all(self.met(point) for point in points)
        values = [value for point in points for value in getattr(point, f"{self.quality}s")]
        return lower_bound(values) >= self.target

    def met(self, point: Point) -> bool:
        """Whether a point, measured on all prompts, reaches the target."""
        value = point.speedup if self.name == "speedup" else self.quality_of(point)
        return point.complete and value >= self.target

    def rank(self, point: Point) -> tuple[bool, float, float]:
        """Sort key, the best last: who meets the goal, then the free quantity; else who comes nearest."""
        met, quality = self.met(point), self.quality_of(point)
        if self.name == "speedup":
            return (met, quality if met else point.speedup, point.speedup)
        return (met, point.speedup if met else quality, quality)

    def best(self, points: list[Point]) -> Point | None:
        """The best of the points measured on all prompts; one that misses the target only if none meets it."""
        whole = [point for point in points if point.complete]
        return max(whole, key=self.rank) if whole else None
