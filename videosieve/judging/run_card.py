"""What a training run leaves beside its checkpoint: run card, loss curve, sample sheet."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import torch

from videosieve.errors import ModelError
from videosieve.fields import checked
from videosieve.files import write_text
from videosieve.planning.machine import describe_machine, describe_versions
from videosieve.report.pictures.training import plot_losses, write_sheet
from videosieve.shapes.model import SIZES
from videosieve.shapes.training.phases import PHASES_M, PHASES_M_ON, PHASES_ON
from videosieve.shapes.training.train import DRAWN, Minutes, Row, read_log
from videosieve.shapes.training.trainer import TrainConfig, Trainer
from videosieve.shapes.weights import load_shapes, load_training_run

CARD, CURVE, SHEET = "run.json", "loss.svg", "samples.png"
SHEET_STEPS = 8
SHEET_CAPTIONS = (
    "a large red circle moves left",
    "a large green square moves right",
    "a large blue triangle moves up",
    "a large yellow star moves down",
    "a large white cross moves clockwise",
    "a large magenta circle stays still",
    "a small cyan square moves left and a small orange triangle moves right",
    "a small blue star moves up and a small red cross stays still",
)


def make_config(model: str, minutes: float, samples: int, **changes: object) -> TrainConfig:
    """The training recipe, shortened or lengthened to a budget.

    Args:
        model: A key of videosieve.shapes.model.SIZES.
        minutes: Budget of stepping; for a resumed run of the whole run.
        samples: Budget in samples instead; 0 means "use minutes".
        **changes: Other fields of TrainConfig.

    Returns:
        The configuration; the warm-up is never longer than a tenth of a budget given in samples.
    """
    config = replace(TrainConfig(model=model, minutes=minutes, samples=samples), **changes)
    if config.start and _same_heads(config.start, model):
        # what it knows should survive the first steps; it can read
        config = replace(config, phases=PHASES_ON, lr=1e-3, muon_lr=2.5e-3, decay_from=0.5, reading_steps=0)
        if model == "shapes-m":  # its batches are a quarter as large
            config = replace(config, phases=PHASES_M_ON, lr=5e-4, muon_lr=1.2e-3, warmup=500)
    elif model == "shapes-m":
        config = replace(config, phases=PHASES_M, lr=8e-4, muon_lr=2e-3)
    return replace(config, warmup=min(config.warmup, samples // 10)) if samples else config


def _same_heads(start: str, model: str) -> bool:
    # a start with heads of another size is a smaller model, which has the new size still to learn
    return load_shapes(start).transformer.config["attention_head_dim"] == SIZES[model].head_dim


class RunFolder:
    """Keeps the card, the curve and the sheet of a training run up to date.

    Args:
        out: The folder that is trained into.
        sheet_minutes: Minutes between sample sheets, 0 for none. A sheet takes as long as eight videos.
    """

    def __init__(self, out: Path, sheet_minutes: float) -> None:
        checked("sheet_minutes", sheet_minutes, Minutes, ModelError)
        self.out = out
        self.sheet_minutes = sheet_minutes
        self._drawn_at = time.monotonic()

    def update(self, trainer: Trainer) -> None:
        """After a checkpoint: card and curve always, the sheet when it is due or the run has ended."""
        rows = read_log(self.out, DRAWN)
        write_text(self.out / CARD, json.dumps(run_card(trainer, rows), indent=2) + "\n")
        plot_losses(rows, trainer.config.model, self.out / CURVE)
        due = time.monotonic() - self._drawn_at >= 60 * self.sheet_minutes
        if self.sheet_minutes and (due or trainer.progress >= 1):
            draw_sheet(self.out)
            self._drawn_at = time.monotonic()


def run_card(trainer: Trainer, rows: list[Row]) -> dict[str, object]:
    """What a run was and how far it came, for people and programs.

    Args:
        trainer: The run.
        rows: Its log.

    Returns:
        Configuration, counters, mean loss of the last 100 steps, machine and versions.
    """
    return {
        "config": asdict(trainer.config),
        "steps": trainer.count,
        "samples": trainer.samples,
        "minutes": round(trainer.spent / 60, 2),
        "progress": round(min(trainer.progress, 1.0), 4),
        "loss": round(fmean(row["loss"] for row in rows[-100:]), 5) if rows else None,
        "parameters": sum(parameter.numel() for parameter in trainer.trained.parameters()),
        "machine": describe_machine(trainer.device),
        "versions": describe_versions(),
    }


def draw_sheet(out: Path) -> None:
    """Samples eight captions from the averaged weights in the checkpoint and writes them as one picture."""
    pipe = load_training_run(out)
    made = pipe(
        list(SHEET_CAPTIONS),
        num_inference_steps=SHEET_STEPS,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )
    write_sheet(made.frames.float(), SHEET_CAPTIONS, out / SHEET)
