"""The state of a comparison at work: scenes, the runs of theirs that are finished, and what earlier sittings left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videosieve.comparison.ledger import Ledger, Prepared, baseline_path
from videosieve.comparison.noise_floor import floor_recipe
from videosieve.comparison.plan import DENSE, Plan
from videosieve.comparison.takes import Takes
from videosieve.generation.generate import Clip, Progress
from videosieve.generation.request import Request
from videosieve.recipe import Recipe
from videosieve.report import ClipResult, Results
from videosieve.report.results import BASELINE, FLOOR, METHOD


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a comparison is.

    Attributes:
        method: Name of the method at work.
        video: Index of the run, 0 … videos − 1: every repeat of every video counts.
        videos: Runs to make.
        timed: False while warming up.
        progress: Steps of this run; None when it starts.
        result: The video, when its last repeat is done; None before.
    """

    method: str
    video: int
    videos: int
    timed: bool
    progress: Progress | None = None
    result: ClipResult | None = None


@dataclass(slots=True)
class Scene:
    """A prompt with a seed, and what is finished of it.

    Attributes:
        index: Its place in the plan.
        request: What to generate.
        dense: The baseline with its frames, while the scene is at work.
        takes: The finished runs by method.
    """

    index: int
    request: Request
    dense: Clip | None = None
    takes: dict[str, Takes] = field(default_factory=dict)

    @property
    def finished_runs(self) -> int:
        """Timed runs of all methods, repeats included."""
        return sum(len(takes.rows) for takes in self.takes.values())


@dataclass(slots=True)
class Work:
    """A comparison at work.

    Attributes:
        pipe: A diffusers video pipeline.
        plan: What to compare.
        folder: Results folder.
        observe: Told every stage.
        results: What is on disk, as of the last `save`.
        ledger: What is finished, over all sittings.
        recipes: The plan's, and the noise floor's once it is found.
        scenes: In the order of the plan.
        runs: Timed runs that are behind us.
        branches: Of guidance, as the baseline's warm-up named them.
    """

    pipe: Any
    plan: Plan
    folder: Path
    observe: Callable[[Stage], None]
    results: Results
    ledger: Ledger
    recipes: dict[str, Recipe] = field(init=False)
    scenes: list[Scene] = field(init=False)
    runs: int = 0
    branches: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.recipes = self.plan.recipes
        self.scenes = [Scene(index, request) for index, request in enumerate(self.plan.requests)]

    @property
    def all_runs(self) -> int:
        """Timed runs of the whole comparison."""
        return len(self.scenes) * len(self.recipes) * self.plan.repeats

    @property
    def finished(self) -> bool:
        """Whether every run is behind us."""
        return self.all_runs == sum(scene.finished_runs for scene in self.scenes)

    def show(
        self, name: str, timed: bool, progress: Progress | None = None, result: ClipResult | None = None
    ) -> None:
        """Tell the observer where we are."""
        self.observe(Stage(name, self.runs, self.all_runs, timed, progress, result))

    def save(self) -> None:
        """Bring results.json up to date with the takes."""
        self.results.clips = [
            scene.takes[name].result(scene.takes[DENSE].median.seconds)
            for scene in self.scenes
            for name in self.recipes
            if DENSE in scene.takes and name in scene.takes
        ]
        self.results.save(self.folder)

    def caching(self, name: str) -> dict[str, Any]:
        """What generations of a row are told of its cache; nothing where it has none."""
        cache = self.plan.caches.get(name)
        return {"cache": cache, "branches": self.branches} if cache else {}

    def take_over(self, found: Prepared) -> None:
        """Act on what the warm-up found, now or before an interruption, and bring back the runs that are finished."""
        self.results.dense_kernel = found.dense_kernel
        if found.reason:
            self.results.unavailable["noise floor"] = found.reason
        if found.floor:
            floor = floor_recipe(found.floor)
            self.recipes = {DENSE: self.recipes[DENSE], floor.name: floor, **self.recipes}
            self.results.recipes = {name: recipe.to_toml() for name, recipe in self.recipes.items()}
        for scene in self.scenes:
            self._restore(scene)
        self.save()

    def _restore(self, scene: Scene) -> None:
        """Bring back a scene's finished runs; those whose videos are gone are to be made again."""
        for name, noted in self.ledger.takes(scene.index).items():
            rows = [row for row, _ in noted]
            videos = [file for kind, file in rows[0].files.items() if kind != "trace"]
            if all((self.folder / file).is_file() for file in videos):
                scene.takes[name] = Takes(rows)
                for _, also in noted:
                    self.results.unavailable |= also["unavailable"]
                    self.results.settings |= also["size"]
                    self.results.warnings |= also.get("warnings", {})  # ledgers of older versions have none
        if len(scene.takes) < len(self.recipes) and not baseline_path(self.folder, scene.index).is_file():
            scene.takes.pop(DENSE, None)  # the others are measured against its frames
        if len(self.recipes) * self.plan.repeats == scene.finished_runs:
            for takes in scene.takes.values():
                takes.settle(self.folder)


def kind_of(name: str, recipe: Recipe, plan: Plan) -> str:
    """Whether a recipe is the baseline, a noise floor (dense by another kernel, and no cache), or a method."""
    if name == DENSE:
        return BASELINE
    return FLOOR if recipe.is_dense and name not in plan.caches else METHOD
