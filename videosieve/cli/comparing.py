"""Runs a plan with a progress bar; shared by compare and sweep."""

from pathlib import Path
from typing import TYPE_CHECKING

from videosieve.cli.console import err, number, out, plain_table, say
from videosieve.cli.progress import GenerationBar

if TYPE_CHECKING:
    from videosieve.generation.compare import Stage
    from videosieve.generation.plan import Plan
    from videosieve.report import ClipResult, Results


def run_plan(plan: "Plan", folder: Path, device: str, dtype: str | None) -> "Results":
    """Load the model, make every video of the plan, print the table and where the page is."""
    from videosieve.generation.compare import compare
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.plan import check_folder
    from videosieve.report import PAGE

    with GenerationBar() as bar:
        for request in plan.requests:
            check_words(plan.model, request.prompt, request.negative_prompt)
        if check_folder(folder):
            say(f"replacing the earlier results in {folder}")
        bar.begin("loading", plan.model)
        pipe = load_pipeline(plan.model, device, dtype)
        results = compare(pipe, plan, folder, lambda stage: _show(bar, stage))
    print_results(results)
    say(f"open {folder / PAGE}")
    return results


def print_results(results: "Results") -> None:
    """One line per video."""
    columns = ("time s", "speed-up", "run density", "sparse density", "recall", "PSNR dB", "SSIM")
    table = plain_table("method", *columns, right=columns)
    for clip in results.clips:
        table.add_row(
            clip.method,
            number(clip.seconds),
            number(clip.speedup),
            number(clip.run_density, 3),
            number(clip.sparse_density, 3),
            number(clip.recall, 3),
            number(clip.psnr, 1),
            number(clip.ssim, 4),
        )
    out.print(table)


def _show(bar: GenerationBar, stage: "Stage") -> None:
    name = f"{stage.method} ({stage.video + 1} of {stage.videos})"
    if stage.progress is not None:
        bar.advance(stage.progress)
    elif stage.result is not None:
        bar.begin(name, "done")
        err.print(_one_line(stage.result), soft_wrap=True)
    else:
        bar.begin(name, "starting" if stage.timed else "warming up")


def _one_line(clip: "ClipResult") -> str:
    against = "" if clip.psnr is None else f", {clip.speedup:.2f}×, PSNR {clip.psnr:.1f} dB"
    return f"{clip.method}: {clip.seconds:.1f} s, run density {clip.run_density:.2f}{against}"
