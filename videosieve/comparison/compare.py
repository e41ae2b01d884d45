"""Several methods on the same prompt and the same noise, dense first: videos, numbers and a page to look at.

Timing protocol. Before anything is timed, every recipe runs two steps, which are thrown away: kernels are built, caches
are warm, and a recipe that this model refuses is refused now. Then whole pipeline calls are timed by wall clock, and
all methods take turns, so a machine that grows slower or faster meanwhile does so for all of them. Repeats go through
the methods forwards, backwards, forwards …: a steady drift cancels over two repeats. Every other scene (a prompt with a
seed) takes the methods backwards, with dense still first, because the others are measured against its frames. Of
several repeats the one with the (lower) median time is kept. Attention times come from the same run. Recall is measured
inside the timed run, so its cost counts against the sparse methods.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from videosieve.comparison.blank_results import DIFFERENCE_GAIN, blank_results
from videosieve.comparison.ledger import (
    LEDGER,
    Ledger,
    Prepared,
    baseline_path,
    read_baseline,
    settings_of,
    write_baseline,
)
from videosieve.comparison.left_out import with_left_out
from videosieve.comparison.noise_floor import choose_floor, dense_kernels
from videosieve.comparison.plan import DENSE, Plan, clear_folder
from videosieve.comparison.quality import measure_quality
from videosieve.comparison.scenes import Scene, Stage, Work, kind_of
from videosieve.comparison.takes import Takes, first_take, next_take
from videosieve.errors import BackendError, OutputError
from videosieve.files import Claim
from videosieve.generation.generate import Clip, generate, rehearse
from videosieve.generation.media import make_folder, write_poster, write_video
from videosieve.generation.stems import file_stem
from videosieve.kernels.preference import ROUNDED
from videosieve.metrics import absolute_difference
from videosieve.recipe import Recipe
from videosieve.report import ClipResult, Results, write_report
from videosieve.report.results import COMPLETE, FLOOR, INTERRUPTED
from videosieve.trace import Trace

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def compare(
    pipe: "DiffusionPipeline",
    plan: Plan,
    folder: Path,
    observe: Callable[[Stage], None] | None = None,
    finish: Callable[[Results], None] | None = None,
) -> Results:
    """Generate every video of a plan, measure it against dense, and write results and page.

    Finished videos are on disk with a valid results.json at every moment. A comparison that was interrupted goes on
    with the next call for the same folder: no run that is finished is made again.

    Args:
        pipe: A diffusers video pipeline.
        plan: What to compare.
        folder: Results folder; made if missing. Results of a finished comparison in it are replaced.
        observe: Called when a run starts, after each of its steps, and when a video is finished.
        finish: Called with the results when all videos are there, for further files; after a kill in it the same call
            comes straight back to it.

    Returns:
        The results; `folder` holds results.json, report.html, the videos and the traces.

    Raises:
        OutputError: A file cannot be written, another process works in the folder, or it holds an interrupted
            comparison with other settings, or of another machine or version.
        ModelError: The pipeline refuses a request.
        ShapeError: Methods made videos of different length or size.
        KeyboardInterrupt: The user stopped it; the message counts what is finished.
    """
    results = blank_results(pipe, plan)
    settings = settings_of(pipe, plan)
    make_folder(folder)
    with Claim(folder):
        if not (folder / LEDGER).is_file():
            clear_folder(folder)
            results.save(folder)
        with Ledger(folder, settings) as ledger:
            ledger.note_start(results.created)
            results.created, *results.resumed = ledger.starts
            _carry_out(Work(pipe, plan, folder, observe or _ignore, results, ledger))
            (finish or _ignore)(results)
            ledger.path.unlink()
    return results


def _carry_out(work: Work) -> None:
    results, folder = work.results, work.folder
    try:
        _prepare(work)
        for scene in work.scenes:
            _compare_scene(work, scene)
        results.status = COMPLETE
    except BaseException as error:
        results.status = INTERRUPTED
        if isinstance(error, KeyboardInterrupt):
            videos = len(work.scenes) * len(work.recipes)
            done = f"{len(results.clips)} of {videos} videos are finished and valid in {str(folder)!r}"
            raise KeyboardInterrupt(f"{done}; the same command goes on") from None
        raise
    finally:
        results.save(folder)
        if results.clips:
            write_report(folder)


def _prepare(work: Work) -> None:
    """Take over what is finished, warm every recipe up that has something to do, and find the noise floor."""
    earlier = work.ledger.prepared
    if earlier is not None:
        work.take_over(earlier)
        if work.finished:
            return
    for name, recipe in list(work.recipes.items()):
        work.show(name, timed=False)
        clip = rehearse(
            work.pipe,
            work.plan.requests[0],
            recipe,
            lambda progress, name=name: work.show(name, timed=False, progress=progress),
            **work.caching(name),
        )
        if name != DENSE:
            continue
        work.branches = frozenset(record.branch for record in clip.trace.records)
        kernel = ", ".join(dense_kernels(clip))
        if earlier is None:
            found = _find_floor(work, clip, kernel)
            work.ledger.note_prepared(found)
            work.take_over(found)
        elif kernel != earlier.dense_kernel:
            raise OutputError(
                f"dense attention of the comparison in {str(work.folder)!r} was computed by {earlier.dense_kernel}, "
                f"and now it would be by {kernel}; restore that kernel to go on, or choose another output"
            )


def _find_floor(work: Work, dense: Clip, kernel: str) -> Prepared:
    if not work.plan.floor or any(_is_plain_floor(*entry, work.plan) for entry in work.plan.recipes.items()):
        return Prepared(kernel)
    try:
        floor: Any = choose_floor(work.pipe, work.plan.requests[0], dense).method
    except BackendError as error:
        return Prepared(kernel, reason=str(error))
    return Prepared(kernel, floor.kernel)


def _is_plain_floor(name: str, recipe: Recipe, plan: Plan) -> bool:
    """Whether a row shows what another kernel of the same precision changes."""
    return kind_of(name, recipe, plan) == FLOOR and getattr(recipe.method, "kernel", None) != ROUNDED


def _compare_scene(work: Work, scene: Scene) -> None:
    baseline = baseline_path(work.folder, scene.index)
    if DENSE in scene.takes and len(scene.takes) < len(work.recipes):
        scene.dense = read_baseline(baseline)
    for repeat in range(work.plan.repeats):
        for name in turns(list(work.recipes), scene.index, repeat):
            takes = scene.takes.get(name, Takes())
            if len(takes.rows) <= repeat:
                _take(work, scene, name, repeat)
            work.runs += 1
    for takes in scene.takes.values():
        takes.settle(work.folder)
    work.save()
    scene.dense = None
    baseline.unlink(missing_ok=True)


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


def _take(work: Work, scene: Scene, name: str, repeat: int) -> None:
    work.show(name, timed=True)
    clip = generate(
        work.pipe,
        scene.request,
        work.recipes[name],
        progress=lambda progress: work.show(name, timed=True, progress=progress),
        **work.caching(name),
    )
    if cache := work.plan.caches.get(name):
        whole = Trace.load(work.folder / scene.takes[DENSE].rows[0].files["trace"])
        clip = replace(clip, trace=with_left_out(clip.trace, whole, cache.label))
    also: dict[str, Any] = {"unavailable": {}, "size": {}, "warnings": {}}
    if clip.warnings:
        also["warnings"] = {name: "; ".join(clip.warnings)}
    if repeat == 0:
        row = _first_take(work, scene, name, clip, also)
    else:
        first = scene.takes[name].rows[0]
        trace = first.files["trace"].replace(".trace.", f".trace-{repeat}.")
        row = next_take(first, clip, trace)
    clip.trace.save(work.folder / row.files["trace"])
    work.ledger.note_take(scene.index, repeat, row, also)
    scene.takes.setdefault(name, Takes()).rows.append(row)
    work.results.unavailable |= also["unavailable"]
    work.results.settings |= also["size"]
    work.results.warnings |= also["warnings"]
    work.save()
    if repeat == work.plan.repeats - 1:
        result = scene.takes[name].result(scene.takes[DENSE].median.seconds)
        work.show(name, timed=True, result=result)


def _first_take(work: Work, scene: Scene, name: str, clip: Clip, also: dict[str, Any]) -> ClipResult:
    quality = measure_quality(work.pipe, clip, scene.request.prompt, scene.dense, work.plan.metrics)
    if clip.peak_bytes is None:
        quality.unavailable["peak_bytes"] = "this system does not tell how much memory a process needed"
    also |= {"unavailable": quality.unavailable, "size": _size(clip.frames)}
    stem = file_stem(name, work.recipes)
    stem = stem if len(work.scenes) == 1 else f"{scene.index:02d}-{stem}"
    files = _write_files(work, stem, clip.frames, scene.dense.frames if scene.dense else None)
    if name == DENSE:
        scene.dense = clip
        write_baseline(baseline_path(work.folder, scene.index), clip)
    return first_take(name, kind_of(name, work.recipes[name], work.plan), scene.request, clip, quality, files)


def _write_files(work: Work, stem: str, frames: Tensor, reference: Tensor | None) -> dict[str, str]:
    files = {"video": f"{stem}.mp4", "poster": f"{stem}.png", "trace": f"{stem}.trace.jsonl"}
    write_video(frames, work.folder / files["video"], work.plan.fps)
    write_poster(frames, work.folder / files["poster"])
    if reference is not None:
        files["difference"] = f"{stem}.difference.mp4"
        difference = absolute_difference(frames, reference, DIFFERENCE_GAIN)
        write_video(difference, work.folder / files["difference"], work.plan.fps)
    return files


def _ignore(told: object) -> None:
    del told


def _size(frames: Tensor) -> dict[str, int]:
    count, _, height, width = frames.shape
    return {"frames": count, "height": height, "width": width}
