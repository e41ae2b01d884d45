"""`videosieve batch`: many prompts, resumable, on one device, several, or a Ray cluster."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from videosieve.cli import options
from videosieve.cli.console import PlainColumn, err, note, say

if TYPE_CHECKING:
    from videosieve.batch import Job
    from videosieve.batch.jobs import Outcome

FAILED = 1


def batch(
    prompts: Annotated[
        Path,
        typer.Argument(help="A .txt, .csv, .jsonl or .parquet file, or VBench's .json.", show_default=False),
    ],
    output: Annotated[Path, options.folder("Folder for videos and manifest.")],
    model: options.Model = "shapes-s",
    method: options.Method = "svg",
    density: options.Density = None,
    settings: options.Settings = None,
    seed: Annotated[
        list[int] | None,
        options.optional("Seed, >= 0, of prompts without one; repeatable. Default: 0."),
    ] = None,
    steps: options.Steps = None,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    executor: Annotated[str, typer.Option(help="serial, process (one a device), or ray.")] = "serial",
    devices: Annotated[
        str,
        typer.Option(
            help="One worker per entry: cpu, cuda:0,cuda:1, or cuda,cuda with ray; auto: the first."
        ),
    ] = "auto",
    shard: Annotated[str, typer.Option(help="i/n: every n-th prompt from the i-th, for schedulers.")] = "1/1",
    retries: Annotated[int, typer.Option(help="Further attempts after a crash, >= 0.")] = 1,
    dtype: options.Dtype = None,
    suffix: Annotated[str, typer.Option("--format", help="mp4, gif or webp.")] = "mp4",
    fps: options.Fps = None,
    layout: Annotated[
        str, typer.Option(help="numbered, or vbench: <prompt>-<index>.mp4, as `vbench evaluate` wants.")
    ] = "numbered",
    samples: Annotated[
        int | None,
        options.optional("vbench: videos a prompt. Default: 5, and 25 for temporal_flickering."),
    ] = None,
    dimension: Annotated[
        list[str] | None,
        options.optional("vbench: only prompts of this dimension; repeatable."),
    ] = None,
    long_prompts: Annotated[
        Path | None,
        options.optional("vbench: file whose line i is the long form of prompt i."),
    ] = None,
) -> None:
    """Make one video a prompt. Run it again to go on after an interruption; finished videos are never made twice.

    videosieve batch prompts.csv --model ./wan --method svg-wan --executor process --devices cuda:0,cuda:1 --output out

    videosieve batch VBench_full_info.json --layout vbench --dimension temporal_flickering --model ./wan --output out
    """
    from videosieve.batch import Order, read_prompts, read_vbench_prompts, run_batch
    from videosieve.batch.prompts import parse_shard
    from videosieve.batch.prompts import shard as part_of
    from videosieve.generation import media
    from videosieve.generation.load import check_words
    from videosieve.generation.recipe_settings import make_recipe

    recipe = make_recipe(method, density, settings or (), model)
    index, count = parse_shard(shard)
    _check_layout(layout, suffix, seed, (samples, dimension, long_prompts))
    if layout == "vbench":
        everything = read_vbench_prompts(
            prompts, samples=samples, dimensions=tuple(dimension or ()), long_prompts=long_prompts
        )
    else:
        everything = read_prompts(prompts, tuple(seed or (0,)))
    jobs = part_of(everything, index, count)
    for job in jobs:
        check_words(model, job.prompt, job.negative_prompt)
    rate = options.frame_rate(fps, model)
    media.make_folder(output)
    media.check_output(output / f"video.{suffix}")
    order = Order(
        model, recipe.to_toml(), str(output), f".{suffix}", rate, dtype or "", steps, height, width, frames, guidance
    )  # fmt: skip
    manifest = "manifest.jsonl" if count == 1 else f"manifest-{index}-of-{count}.jsonl"
    with _BatchBar(len(jobs)) as bar:
        summary = run_batch(
            order,
            jobs,
            executor=executor,
            devices=tuple(name.strip() for name in devices.split(",")),
            retries=retries,
            manifest=manifest,
            watch=bar.advance,
        )
    say(f"{output}: {summary.done} videos made, {summary.found} were there, {len(summary.failures)} failed")
    for warning in summary.warnings:
        say(f"warning: {warning}")
    for job, reason in summary.failures:
        say(f"  {job.number} {job.prompt!r} seed {job.seed}: {reason}")
    if summary.failures:
        raise typer.Exit(FAILED)


def _check_layout(layout: str, suffix: str, seeds: list[int] | None, vbench: tuple[object, ...]) -> None:
    from videosieve.batch.vbench import SUFFIXES
    from videosieve.errors import PromptError

    if layout not in ("numbered", "vbench"):
        raise PromptError(f"layout is numbered or vbench, got {layout!r}")
    if layout == "numbered" and any(vbench):
        raise PromptError("--samples, --dimension and --long-prompts belong to --layout vbench; add it")
    if layout == "vbench" and f".{suffix}" not in SUFFIXES:
        raise PromptError(f"VBench opens {' and '.join(SUFFIXES)}, got --format {suffix}")
    if layout == "vbench" and seeds:
        raise PromptError("with --layout vbench every video has a seed of its own; leave --seed out")


class _BatchBar:
    """Finished prompts, prompts per hour and time left, where stderr is a terminal."""

    def __init__(self, jobs: int) -> None:
        self._bar = Progress(
            PlainColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            PlainColumn("{task.fields[note]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._jobs = jobs
        self._task = self._bar.add_task("videos", total=jobs, note="loading the model")
        self._started, self._ended = time.monotonic(), 0

    def __enter__(self) -> "_BatchBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, job: "Job", outcome: "Outcome", left: int) -> None:
        """After a job has ended."""
        self._ended += 1
        each = (time.monotonic() - self._started) / self._ended
        minutes, seconds = divmod(round(each * left), 60)
        pace = f"{3600 / each:,.0f} an hour  {minutes}:{seconds:02d} left"
        self._bar.update(self._task, completed=self._jobs - left, note=pace)
        if outcome.status != "done":
            note(f"{job.number} {job.prompt!r}: {outcome.reason}")
