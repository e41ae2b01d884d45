"""Full generations of a tune: every candidate between two dense ones, so that a drifting machine cancels.

The dense video that ends one candidate's turn begins the next one's. Recall is measured only where it is the goal,
because measuring it takes time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from torch import Tensor

from videosieve.generation.generate import generate
from videosieve.generation.request import Request
from videosieve.metrics import psnr
from videosieve.recipe import Recipe
from videosieve.tuning.search.candidates import Candidate
from videosieve.tuning.search.goal import Goal
from videosieve.tuning.search.points import SPREAD, Point, estimate

RECALL_ROWS = 16
SLOWER = 0.9
"""A candidate at less than this share of the speed that is wanted is not measured further; noise is smaller."""

Watch = Callable[[str, int, int], None]
"""Told what is being made, the finished step and all steps."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One generation: frames fp32 in [0, 1] [frames, 3, height, width] on the CPU, seconds of the call, densities, and
    what was not as the recipe means it."""

    frames: Tensor
    seconds: float
    run_density: float
    recall: float | None
    warnings: tuple[str, ...] = ()


def shoot(
    pipe: Any,
    request: Request,
    recipe: Recipe,
    recall_rows: int = 0,
    watch: Callable[[int], None] | None = None,
) -> Shot:
    """Generate one video.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        recipe: Which attention is computed.
        recall_rows: As `sparsify` takes it; measured inside the timed call.
        watch: Called with the finished steps, where the pipeline allows it.

    Returns:
        The shot.
    """
    told = None if watch is None else lambda progress: watch(progress.step)
    clip = generate(pipe, request, recipe, progress=told, recall_rows=recall_rows)
    summary = clip.trace.summary()
    return Shot(clip.frames, clip.seconds, summary.run_density, summary.recall, clip.warnings)


@dataclass
class Bench:
    """The pipeline, the prompts and their dense videos.

    Attributes:
        pipe: A diffusers video pipeline.
        requests: One video each.
        goal: What is wanted.
        watch: Told where a generation is.
        steps: Denoising steps.
        references: Dense videos by index of the request.
        dense_seconds: Of every dense call.
        warnings: What was not as a candidate's recipe means it, each sentence once, by candidate.
    """

    pipe: Any
    requests: list[Request]
    goal: Goal
    steps: int
    watch: Watch = lambda *_: None
    references: dict[int, Tensor] = field(default_factory=dict)
    dense_seconds: list[float] = field(default_factory=list)
    warnings: dict[Candidate, tuple[str, ...]] = field(default_factory=dict)
    _fresh: float | None = None
    _turn: int = 0

    def dense(self, index: int) -> float:
        """Seconds of a dense call just made; its frames are the reference of that request."""
        shot = self._shoot("dense", index, Recipe.of("dense"), 0)
        self.references.setdefault(index, shot.frames)
        self.dense_seconds.append(shot.seconds)
        return shot.seconds

    def measure(
        self, candidate: Candidate, recipe: Recipe, offsets: list[float], fastest: float = 0.0
    ) -> Point:
        """A candidate on the requests, one after another, given up where the target is out of reach.

        Args:
            candidate: What the recipe is.
            recipe: The recipe.
            offsets: What each prompt usually adds to the quality, as from `prompt_offsets`.
            fastest: Speed-up of the best so far; a candidate that is clearly slower is given up too.

        Returns:
            The point; incomplete where it was given up.
        """
        rows = RECALL_ROWS if self.goal.quality == "recall" else 0
        around = [self._fresh if self._fresh is not None else self._next_dense()]
        shots: list[Shot] = []
        psnrs: list[float] = []
        for index in range(len(self.requests)):
            if index not in self.references:
                around.append(self.dense(index))
            shots.append(self._shoot(candidate.words(), index, recipe, rows))
            psnrs.append(psnr(shots[-1].frames, self.references[index]).mean)
            if index + 1 < len(self.requests) and self._hopeless(shots, psnrs, offsets, around, fastest):
                break
        self.warnings[candidate] = tuple(dict.fromkeys(said for shot in shots for said in shot.warnings))
        self._fresh = self._next_dense()
        around.append(self._fresh)
        recalls = tuple(shot.recall if shot.recall is not None else 1.0 for shot in shots) if rows else ()
        seconds = tuple(shot.seconds for shot in shots)
        density = sum(shot.run_density for shot in shots) / len(shots)
        return Point(candidate, tuple(psnrs), recalls, seconds, tuple(around), density, len(self.requests))

    def _next_dense(self) -> float:
        self._turn += 1
        return self.dense((self._turn - 1) % len(self.requests))

    def _hopeless(
        self,
        shots: list[Shot],
        psnrs: list[float],
        offsets: list[float],
        around: list[float],
        fastest: float,
    ) -> bool:
        """Whether the prompts that are left cannot save a candidate."""
        speedup = median(around) / median(shot.seconds for shot in shots)
        if self.goal.name == "speedup":
            return speedup < SLOWER * self.goal.target
        if speedup < SLOWER * fastest:
            return True
        quality = self.goal.quality
        values = tuple(psnrs) if quality == "psnr" else tuple(shot.recall or 1.0 for shot in shots)
        return estimate(values, offsets) + SPREAD[quality] < self.goal.target

    def _shoot(self, name: str, index: int, recipe: Recipe, rows: int) -> Shot:
        self.watch(name, 0, self.steps)
        return shoot(
            self.pipe, self.requests[index], recipe, rows, lambda step: self.watch(name, step, self.steps)
        )
