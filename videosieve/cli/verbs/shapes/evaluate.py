"""`videosieve shapes evaluate`: makes videos for unseen captions and judges them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from videosieve.cli import options
from videosieve.cli.console import PlainColumn, err, out, plain_table, say

if TYPE_CHECKING:
    from videosieve.judging.scores import Scores


def evaluate(
    size: Annotated[str, typer.Option(help="s or m: a bundled model.")] = "s",
    run: Annotated[
        Path | None,
        options.optional("Folder of a training run, or of an exported model, instead."),
    ] = None,
    prompts: Annotated[int, typer.Option(help="Unseen captions, >= 1.")] = 200,
    held_out: Annotated[
        int, typer.Option(help="Captions of combinations excluded from training, >= 0; 0: none.")
    ] = 64,
    steps: Annotated[int, typer.Option(help="Denoising steps, >= 1.")] = 20,
    guidance: Annotated[float, typer.Option(help="Guidance scale, >= 1; 1 is none.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of captions and noise, 0 to 999.")] = 0,
    batch: Annotated[int, typer.Option(help="Videos made at a time, >= 1.")] = 8,
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16: weights and arithmetic.")] = "float32",
    kernel: Annotated[
        str, typer.Option(help="Kernel of dense attention, for example native; default: torch's own.")
    ] = "",
    threads: Annotated[int, typer.Option(help="CPU threads, >= 1; 0: torch's own choice.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for scores.json and a sample sheet; default: none. The same command goes on there after an "
            "interruption.",
        ),
    ] = None,
) -> None:
    """Judge a bundled model, or one in training: share of objects with the right colour, motion, shape and size.

    videosieve shapes evaluate --size s --prompts 200
    """
    import torch

    from videosieve.errors import ModelError
    from videosieve.fields import checked
    from videosieve.judging.scores import Protocol, score_model, write_scores

    if checked("threads", threads, options.THREADS, ModelError):
        torch.set_num_threads(threads)
    protocol = Protocol(prompts, held_out, steps, guidance, seed, batch, dtype, kernel)
    with Progress(
        PlainColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task("videos", total=prompts + held_out)
        model = run or f"shapes-{size}"
        scores = score_model(model, protocol, lambda made: bar.update(task, completed=made), output)
    _print(scores)
    if output is not None:
        for path in write_scores(scores, output):
            say(f"wrote {path}")


def _print(scores: "Scores") -> None:
    columns = ("videos", "colour", "motion", "shape", "size", "all", "IoU")
    table = plain_table("captions", *columns, right=columns)
    for name, row in scores.rows.items():
        cells = []
        for key in ("colour", "motion", "shape", "size", "all", "mask_iou"):
            wide = (
                max(row.high[key] - row.mean[key], row.mean[key] - row.low[key]) if key in row.mean else 0.0
            )
            cells.append(f"{row.mean[key]:.2f} ±{wide:.2f}" if key in row.mean else "–")
        table.add_row(name, str(row.videos), *cells)
    out.print(table)
    say("shares of objects that are right (all: of videos), with the wider half of 95 % bootstrap intervals")
