"""`videosieve shapes train`: trains a bundled model into a folder, and goes on after any interruption."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress

from videosieve.cli import options
from videosieve.cli.console import PlainColumn, err, say
from videosieve.errors import ModelError
from videosieve.fields import checked

PRECISIONS: dict[str, bool | None] = {"auto": None, "bfloat16": True, "float32": False}


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; made if missing.")],
    size: Annotated[str, typer.Option(help="s (32 × 32 pixels) or m (64 × 64).")] = "s",
    minutes: Annotated[
        float, typer.Option(help="Budget of the whole run, minutes of stepping, > 0; pauses do not count.")
    ] = 90.0,
    samples: Annotated[
        int, typer.Option(help="Budget in samples instead, >= 1; makes a run repeatable. 0: use minutes.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    start: Annotated[
        str,
        typer.Option("--from", help="First weights: a bundled model or a folder; default: random weights."),
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the first weights and of the data, 0 to 2^28.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:N.")] = "cpu",
    dtype: Annotated[
        str,
        typer.Option(help="bfloat16 or float32 arithmetic; auto: the faster one on the device."),
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, >= 1; 0: torch's own choice.")] = 0,
    muon: Annotated[
        bool | None,
        typer.Option(
            "--muon/--no-muon",
            help="Muon for hidden matrices (torch >= 2.9), or AdamW for all; default: Muon where bfloat16, in which it "
            "computes, is fast.",
            show_default=False,
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile the blocks.")
    ] = True,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between checkpoints, >= 0.")] = 3.0,
    sheet_minutes: Annotated[
        float, typer.Option(help="Minutes between sample sheets, >= 0; 0: none.")
    ] = 15.0,
) -> None:
    """Train a bundled model: checkpoint, log, loss curve, sample sheet and run card in one folder.

    videosieve shapes train --size s --minutes 120 --out runs/s, and with --resume after an interruption.
    """
    import torch

    from videosieve.judging.run_card import RunFolder, make_config
    from videosieve.shapes.training.train import train as train_into

    if dtype not in PRECISIONS:
        raise ModelError(f"dtype must be one of {', '.join(PRECISIONS)}, got {dtype!r}")
    if checked("threads", threads, options.THREADS, ModelError):
        torch.set_num_threads(threads)
    changes: dict[str, Any] = {
        "seed": seed,
        "device": device,
        "muon": muon,
        "compile": compiled,
        "start": start,
        "bf16": PRECISIONS[dtype],
    }
    config = make_config(f"shapes-{size}", minutes, samples, **changes)
    folder = RunFolder(out, sheet_minutes)
    with _Stop() as stop, _TrainingBar(config.model) as bar:
        trainer = train_into(
            config,
            out,
            resume,
            checkpoint_minutes=checkpoint_minutes,
            watch=bar.advance,
            saved=folder.update,
            stop=stop,
        )
    finished = trainer.progress >= 1
    ended = "finished" if finished else "stopped; go on with --resume"
    say(
        f"{out}: {trainer.samples:,} samples in {trainer.count:,} steps, {trainer.spent / 60:.1f} minutes; {ended}"
    )
    if not finished:
        raise typer.Exit(stop.code)


class _Stop:
    """Ctrl-C and SIGTERM ask for a stop after the step; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self.code = 0

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> "_Stop":
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt("the last checkpoint is intact; go on with --resume")
        self.asked, self.code = True, 128 + number
        err.print("saving after this step …")


class _TrainingBar:
    """Share of the budget, samples, loss and speed, where stderr is a terminal."""

    def __init__(self, name: str) -> None:
        self._bar = Progress(
            PlainColumn("{task.description}"),
            BarColumn(bar_width=28),
            PlainColumn("{task.percentage:3.0f} %  {task.fields[note]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task(name, total=1.0, note="building the networks")
        self._loss: float | None = None
        self._started, self._first = time.monotonic(), -1.0

    def __enter__(self) -> "_TrainingBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, row: dict[str, float], progress: float) -> None:
        """After a step."""
        self._loss = row["loss"] if self._loss is None else 0.98 * self._loss + 0.02 * row["loss"]
        if self._first < 0:
            self._started, self._first = time.monotonic(), progress
        done = progress - self._first
        left = (time.monotonic() - self._started) * (1 - progress) / done if done > 0 else 0.0
        minutes, seconds = divmod(round(left), 60)
        note = f"{row['samples']:,.0f} samples  loss {self._loss:.3f}  {minutes}:{seconds:02d} left"
        self._bar.update(self._task, completed=min(progress, 1.0), note=note)
