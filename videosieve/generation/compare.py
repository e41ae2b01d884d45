"""Several methods on the same prompt and the same noise, dense first: videos, numbers and a page to look at.

Timing protocol: per method, two untimed steps before its first video; then whole pipeline calls, timed by wall clock,
one after the other; of several repeats the (lower) median is kept. Attention times come from the same run. Recall is
measured inside the timed run, so its cost counts against the sparse methods.
"""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.generation.generate import WARM_UP_STEPS, Clip, Progress, generate
from videosieve.generation.machine import describe_machine, describe_versions
from videosieve.generation.media import write_poster, write_trace, write_video
from videosieve.generation.plan import Plan, clear_folder
from videosieve.generation.request import Request, default_steps
from videosieve.metrics import absolute_difference, psnr, ssim
from videosieve.metrics.video import ssim_per_frame
from videosieve.report import ClipResult, Results, write_report
from videosieve.report.curves import density_by_step, head_atlas, recall_by_step, steps_kept_dense
from videosieve.report.results import BASELINE, COMPLETE, INTERRUPTED, METHOD

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

DIFFERENCE_GAIN = 4.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a comparison is.

    Attributes:
        method: Name of the method at work.
        video: Index of the video being made, 0 … videos − 1.
        videos: Videos to make.
        timed: False while warming up.
        progress: Steps of this video; None when it starts.
        result: The finished video; None before.
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
        observe: Called when a video starts, after each of its steps, and when it is finished.

    Returns:
        The results; `folder` holds results.json, report.html, the videos and the traces.

    Raises:
        OutputError: A file cannot be written.
        ModelError: The pipeline refuses a request.
        KeyboardInterrupt: The user stopped it; the message counts what is finished.
    """
    clear_folder(folder)
    results = _blank_results(pipe, plan)
    results.save(folder)
    work = _Work(pipe, plan, folder, observe or _ignore, results)
    try:
        for scene, request in enumerate(plan.requests):
            _compare_scene(work, scene, request)
        results.status = COMPLETE
    except BaseException as error:
        results.status = INTERRUPTED
        if isinstance(error, KeyboardInterrupt):
            done = f"{len(results.clips)} of {work.videos} videos are finished and valid in {str(folder)!r}"
            raise KeyboardInterrupt(done) from None
        raise
    finally:
        results.save(folder)
        if results.clips:
            write_report(folder)
    return results


@dataclass(frozen=True, slots=True)
class _Work:
    pipe: Any
    plan: Plan
    folder: Path
    observe: Callable[[Stage], None]
    results: Results

    @property
    def videos(self) -> int:
        return len(self.plan.requests) * len(self.plan.recipes)


def _compare_scene(work: _Work, scene: int, request: Request) -> None:
    dense: tuple[Clip, ClipResult] | None = None
    for name in work.plan.recipes:
        video = len(work.results.clips)
        clips = _time_clips(work, name, request, warm_up=scene == 0)
        clip = sorted(clips, key=lambda clip: clip.seconds)[(len(clips) - 1) // 2]
        stem = _slug(name) if len(work.plan.requests) == 1 else f"{scene + 1:02d}-{_slug(name)}"
        files = _write_files(work, stem, clip, dense[0].frames if dense else None)
        result = _measure(name, request, clip, dense, files, [clip.seconds for clip in clips])
        dense = dense or (clip, result)
        work.results.settings |= _size(clip.frames)
        work.results.clips.append(result)
        work.results.save(work.folder)
        work.observe(Stage(name, video, work.videos, timed=True, result=result))


def _time_clips(work: _Work, name: str, request: Request, *, warm_up: bool) -> list[Clip]:
    video, recipe = len(work.results.clips), work.plan.recipes[name]

    def report_step(progress: Progress) -> None:
        work.observe(Stage(name, video, work.videos, timed=True, progress=progress))

    clips = []
    for repeat in range(work.plan.repeats):
        warm = warm_up and repeat == 0
        work.observe(Stage(name, video, work.videos, timed=not warm))
        clips.append(generate(work.pipe, request, recipe, warm_up=warm, progress=report_step))
    return clips


def _write_files(work: _Work, stem: str, clip: Clip, reference: Tensor | None) -> dict[str, str]:
    files = {"video": f"{stem}.mp4", "poster": f"{stem}.png", "trace": f"{stem}.trace.jsonl"}
    write_video(clip.frames, work.folder / files["video"], work.plan.fps)
    write_poster(clip.frames, work.folder / files["poster"])
    write_trace(clip.trace, work.folder / files["trace"])
    if reference is not None:
        files["difference"] = f"{stem}.difference.mp4"
        difference = absolute_difference(clip.frames, reference, DIFFERENCE_GAIN)
        write_video(difference, work.folder / files["difference"], work.plan.fps)
    return files


def _measure(
    name: str,
    request: Request,
    clip: Clip,
    dense: tuple[Clip, ClipResult] | None,
    files: dict[str, str],
    all_seconds: list[float],
) -> ClipResult:
    summary = clip.trace.summary()
    fidelity = psnr(clip.frames, dense[0].frames) if dense else None
    return ClipResult(
        method=name,
        kind=METHOD if dense else BASELINE,
        prompt=request.prompt,
        seed=request.seed,
        seconds=clip.seconds,
        denoising_seconds=clip.denoising_seconds,
        attention_seconds=summary.attention_seconds,
        text_seconds=None,
        decode_seconds=None,
        peak_bytes=None,
        speedup=dense[1].seconds / clip.seconds if dense else 1.0,
        run_density=summary.run_density,
        sparse_density=summary.sparse_density,
        recall=summary.recall,
        recall_steps=recall_by_step(clip.trace.records),
        density_steps=density_by_step(clip.trace.records),
        dense_steps=steps_kept_dense(clip.trace.records),
        dense_reasons=summary.dense_reasons,
        psnr=fidelity.mean if fidelity else None,
        psnr_pooled=fidelity.pooled if fidelity else None,
        psnr_worst=fidelity.worst if fidelity else None,
        psnr_frames=list(fidelity.frames) if fidelity else None,
        ssim=ssim(clip.frames, dense[0].frames) if dense else None,
        ssim_frames=ssim_per_frame(clip.frames, dense[0].frames).tolist() if dense else None,
        scores={},
        accuracy=None,
        atlas=head_atlas(clip.trace.records),
        files=files,
        all_seconds=all_seconds,
    )


def _blank_results(pipe: "DiffusionPipeline", plan: Plan) -> Results:
    first = plan.requests[0]
    return Results(
        model=Path(plan.model).name if Path(plan.model).is_dir() else plan.model,
        pipeline=type(pipe).__name__,
        machine=describe_machine(torch.device(pipe.device)),
        versions=describe_versions(),
        settings={
            "steps": first.steps or default_steps(pipe),
            "height": first.height,
            "width": first.width,
            "frames": first.frames,
            "guidance": first.guidance,
            "negative_prompt": first.negative_prompt,
            "dtype": str(pipe.dtype).removeprefix("torch."),
            "repeats": plan.repeats,
            "warm_up_steps": WARM_UP_STEPS,
            "fps": plan.fps,
            "difference_gain": DIFFERENCE_GAIN,
        },
        recipes={name: recipe.to_toml() for name, recipe in plan.recipes.items()},
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _ignore(stage: Stage) -> None:
    del stage


def _slug(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.") or "method"


def _size(frames: Tensor) -> dict[str, int]:
    count, _, height, width = frames.shape
    return {"frames": count, "height": height, "width": width}
