"""Several methods on the same prompt and the same noise, dense first: videos, numbers and a page to look at.

Timing protocol. Before anything is timed, every recipe runs two steps, which are thrown away: kernels are built, caches
are warm, and a recipe that this model refuses is refused now. Then whole pipeline calls are timed by wall clock, and
all methods take turns, so a machine that grows slower or faster meanwhile does so for all of them. Repeats go through
the methods forwards, backwards, forwards …: a steady drift cancels over two repeats. Every other scene (a prompt with a
seed) takes the methods backwards, with dense still first, because the others are measured against its frames. Of
several repeats the one with the (lower) median time is kept. Attention times come from the same run. Recall is measured
inside the timed run, so its cost counts against the sparse methods.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from videosieve.errors import BackendError
from videosieve.generation.floor import choose_floor, dense_kernels
from videosieve.generation.generate import Clip, Progress, generate, rehearse
from videosieve.generation.media import write_poster, write_trace, write_video
from videosieve.generation.plan import DENSE, Plan, clear_folder
from videosieve.generation.quality import measure_quality
from videosieve.generation.record import DIFFERENCE_GAIN, blank_results
from videosieve.generation.request import Request
from videosieve.generation.takes import Takes
from videosieve.metrics import absolute_difference
from videosieve.recipe import Recipe
from videosieve.report import ClipResult, Results, write_report
from videosieve.report.results import BASELINE, COMPLETE, FLOOR, INTERRUPTED, METHOD

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


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


def compare(
    pipe: "DiffusionPipeline", plan: Plan, folder: Path, observe: Callable[[Stage], None] | None = None
) -> Results:
    """Generate every video of a plan, measure it against dense, and write results and page.

    Finished videos are on disk with a valid results.json at every moment; an interrupted comparison keeps them.

    Args:
        pipe: A diffusers video pipeline.
        plan: What to compare.
        folder: Results folder; made if missing, earlier results in it are replaced.
        observe: Called when a run starts, after each of its steps, and when a video is finished.

    Returns:
        The results; `folder` holds results.json, report.html, the videos and the traces.

    Raises:
        OutputError: A file cannot be written.
        ModelError: The pipeline refuses a request.
        ShapeError: Methods made videos of different length or size.
        KeyboardInterrupt: The user stopped it; the message counts what is finished.
    """
    clear_folder(folder)
    results = blank_results(pipe, plan)
    results.save(folder)
    work = _Work(pipe, plan, folder, observe or _ignore, results)
    try:
        _prepare(work)
        for index, request in enumerate(plan.requests):
            _compare_scene(work, _Scene(index, request))
        results.status = COMPLETE
    except BaseException as error:
        results.status = INTERRUPTED
        if isinstance(error, KeyboardInterrupt):
            videos = len(plan.requests) * len(work.recipes)
            done = f"{len(results.clips)} of {videos} videos are finished and valid in {str(folder)!r}"
            raise KeyboardInterrupt(done) from None
        raise
    finally:
        results.save(folder)
        if results.clips:
            write_report(folder)
    return results


@dataclass(slots=True)
class _Work:
    pipe: Any
    plan: Plan
    folder: Path
    observe: Callable[[Stage], None]
    results: Results
    recipes: dict[str, Recipe] = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.recipes = self.plan.recipes

    @property
    def all_runs(self) -> int:
        return len(self.plan.requests) * len(self.recipes) * self.plan.repeats

    def show(
        self, name: str, timed: bool, progress: Progress | None = None, result: ClipResult | None = None
    ) -> None:
        self.observe(Stage(name, self.runs, self.all_runs, timed, progress, result))


@dataclass(slots=True)
class _Scene:
    index: int
    request: Request
    dense: Clip | None = None  # with frames
    takes: dict[str, Takes] = field(default_factory=dict)


def _prepare(work: _Work) -> None:
    """Warm every recipe up, and find the noise floor."""
    request, results = work.plan.requests[0], work.results
    for name, recipe in work.plan.recipes.items():
        work.show(name, timed=False)
        clip = rehearse(work.pipe, request, recipe)
        if name != DENSE:
            continue
        results.dense_kernel = ", ".join(dense_kernels(clip))
        if work.plan.floor and not any(kind_of(*entry) == FLOOR for entry in work.plan.recipes.items()):
            _add_floor(work, clip)


def _add_floor(work: _Work, dense: Clip) -> None:
    try:
        floor = choose_floor(work.pipe, work.plan.requests[0], dense)
    except BackendError as error:
        work.results.unavailable["noise floor"] = str(error)
        return
    methods = {name: recipe for name, recipe in work.plan.recipes.items() if name != DENSE}
    work.recipes = {DENSE: work.plan.recipes[DENSE], floor.name: floor, **methods}
    work.results.recipes = {name: recipe.to_toml() for name, recipe in work.recipes.items()}


def _compare_scene(work: _Work, scene: _Scene) -> None:
    before = list(work.results.clips)
    for repeat in range(work.plan.repeats):
        for name in turns(list(work.recipes), scene.index, repeat):
            _take(work, scene, name)
            dense_seconds = scene.takes[DENSE].median.seconds
            lines = {name: takes.result(dense_seconds) for name, takes in scene.takes.items()}
            work.results.clips = before + [lines[name] for name in work.recipes if name in lines]
            work.results.save(work.folder)
            work.runs += 1
            if repeat == work.plan.repeats - 1:
                work.show(name, timed=True, result=lines[name])


def turns(names: list[str], scene: int, repeat: int) -> list[str]:
    """In which order methods run.

    Args:
        names: The baseline first.
        scene: Index of the scene.
        repeat: Index of the repeat.

    Returns:
        Odd scenes have the methods after the baseline backwards; odd repeats have everything backwards.
    """
    order = names[:1] + (names[:0:-1] if scene % 2 else names[1:])
    return order[::-1] if repeat % 2 else order


def _take(work: _Work, scene: _Scene, name: str) -> None:
    work.show(name, timed=True)
    clip = generate(
        work.pipe,
        scene.request,
        work.recipes[name],
        progress=lambda progress: work.show(name, timed=True, progress=progress),
    )
    takes = scene.takes.get(name)
    if takes is None:
        takes = scene.takes[name] = _first_take(work, scene, name, clip)
    takes.add(clip)
    write_trace(takes.median.trace, work.folder / takes.files["trace"])


def _first_take(work: _Work, scene: _Scene, name: str, clip: Clip) -> Takes:
    quality = measure_quality(work.pipe, clip, scene.request.prompt, scene.dense, work.plan.metrics)
    if clip.peak_bytes is None:
        quality.unavailable["peak_bytes"] = "this system does not tell how much memory a process needed"
    stem = _slug(name) if len(work.plan.requests) == 1 else f"{scene.index + 1:02d}-{_slug(name)}"
    files = _write_files(work, stem, clip.frames, scene.dense.frames if scene.dense else None)
    scene.dense = scene.dense or clip
    work.results.unavailable |= quality.unavailable
    work.results.settings |= _size(clip.frames)
    return Takes(name, kind_of(name, work.recipes[name]), scene.request, quality, files)


def kind_of(name: str, recipe: Recipe) -> str:
    """Whether a recipe is the baseline, a noise floor (dense by another kernel), or a method."""
    if name == DENSE:
        return BASELINE
    return FLOOR if recipe.is_dense else METHOD


def _write_files(work: _Work, stem: str, frames: Tensor, reference: Tensor | None) -> dict[str, str]:
    files = {"video": f"{stem}.mp4", "poster": f"{stem}.png", "trace": f"{stem}.trace.jsonl"}
    write_video(frames, work.folder / files["video"], work.plan.fps)
    write_poster(frames, work.folder / files["poster"])
    if reference is not None:
        files["difference"] = f"{stem}.difference.mp4"
        difference = absolute_difference(frames, reference, DIFFERENCE_GAIN)
        write_video(difference, work.folder / files["difference"], work.plan.fps)
    return files


def _ignore(stage: Stage) -> None:
    del stage


def _slug(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.") or "method"


def _size(frames: Tensor) -> dict[str, int]:
    count, _, height, width = frames.shape
    return {"frames": count, "height": height, "width": width}
