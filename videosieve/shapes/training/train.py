"""Trains a shapes model into a folder: log, checkpoints, exact resume after any interruption."""

import errno
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from videosieve.errors import ModelError
from videosieve.fields import In, checked, shown
from videosieve.files import Claim, exists, is_file, parse_json, read_lines, reason_of, sweep, write_text
from videosieve.shapes.checkpoint import config_of, read_state
from videosieve.shapes.training.trainer import TrainConfig, Trainer

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
Row = dict[str, float]
DRAWN = ("step", "samples", "loss", "frames")
"""What a row must have for the curve and the card."""
Minutes = Annotated[float, In("[0, inf)", "must be a finite number of minutes >= 0")]


def train(
    config: TrainConfig,
    out: Path,
    resume: bool = False,
    *,
    checkpoint_minutes: float = 3.0,
    watch: Callable[[Row, float], None] = lambda *_: None,
    saved: Callable[[Trainer], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trainer:
    """Trains until the budget is spent or `stop` says so.

    Args:
        config: How to train.
        out: Folder for the checkpoint and the log; made if missing.
        resume: Goes on from the checkpoint in `out`; an uninterrupted run would have the same weights.
        checkpoint_minutes: Minutes between checkpoints, >= 0; 0 writes one after every step.
        watch: Called after every step with its row of the log and the share of the budget that is spent.
        saved: Called after every checkpoint.
        stop: Asked after every step; True saves and returns.

    Returns:
        The trainer at its last step.

    Raises:
        ModelError: The checkpoint cannot be resumed, would be overwritten, or cannot be written (disk full); the last
            good one stays as it is. Another process trains in the folder.
    """
    checked("checkpoint_minutes", checkpoint_minutes, Minutes, ModelError)
    if any("\0" in part or len(os.fsencode(part)) > 255 for part in out.parts):
        raise ModelError(
            f"cannot train into {shown(str(out))}: no folder can have this name; choose another one"
        )
    checkpoint = out / CHECKPOINT
    if exists(checkpoint) and not resume:
        raise ModelError(f"{checkpoint} would be overwritten; resume it or train into another folder")
    if resume and not exists(checkpoint):
        raise ModelError(f"there is no {checkpoint} to resume; start without resuming, or give its folder")
    trainer = Trainer(_as_begun(config, checkpoint) if resume else config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot train into {shown(str(out))}: {reason_of(error)}; choose another folder"
        ) from error
    sweep(out)
    with Claim(out, elsewhere="train into another folder", error=ModelError):
        if exists(checkpoint) and not resume:  # written since we looked
            raise ModelError(f"{checkpoint} would be overwritten; resume it or train into another folder")
        if resume:
            trainer.load(checkpoint)
        _forget_after(out / LOG, trainer.count)
        _step_on(trainer, out, checkpoint_minutes, (watch, saved, stop))
    return trainer


_Told = tuple[Callable[[Row, float], None], Callable[[Trainer], None], Callable[[], bool]]


def _step_on(trainer: Trainer, out: Path, checkpoint_minutes: float, told: _Told) -> None:
    """Steps, and notes every one, until the budget is spent or somebody says stop."""
    watch, saved, stop = told
    checkpoint, saved_at = out / CHECKPOINT, time.monotonic()
    if (
        trainer.progress >= 1
    ):  # resumed after a kill behind the last checkpoint: what is made of it may be missing
        saved(trainer)
    with _Log(out / LOG) as log:
        while trainer.progress < 1:
            row = trainer.step()
            log.add(row)
            watch(row, trainer.progress)
            last = trainer.progress >= 1 or stop()
            if last or time.monotonic() - saved_at >= 60 * checkpoint_minutes:
                trainer.save(checkpoint)
                saved(trainer)
                saved_at = time.monotonic()
            if last:
                break


class _Log:
    """The open log; what is added is whole lines or an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab", buffering=0)  # nothing is left to be written when it is closed
        except OSError as error:
            raise self._unusable(error) from error

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()

    def add(self, row: Row) -> None:
        line = json.dumps({key: round(value, 6) for key, value in row.items()}).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:  # a torn last line is left out by whoever reads or resumes
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ModelError:
        kept = (
            "the last checkpoint is intact; make room and resume"
            if exists(self._path.parent / CHECKPOINT)
            else ("nothing was saved yet")
        )
        return ModelError(f"cannot write {str(self._path)!r}: {reason_of(error)}; {kept}")


def _as_begun(config: TrainConfig, checkpoint: Path) -> TrainConfig:
    """What the configuration leaves to the machine, as the machine that began the run decided it.

    Raises:
        ModelError: The run began otherwise, so that it could not go on as an uninterrupted one would.
    """
    began = config_of(read_state(checkpoint), checkpoint)
    for name in ("start", "seed"):  # what is shown when, and what is drawn, follow from them
        wanted = getattr(config, name)
        if wanted != began.get(name, wanted):
            raise ModelError(
                f"{checkpoint} was begun with {name}={began[name]!r} and cannot go on with {wanted!r}; "
                f"repeat what it began with, or train into another folder"
            )
    if config.muon is not None and config.muon != began.get("muon", config.muon):
        raise ModelError(
            f"{checkpoint} was trained with muon={began['muon']}, whose optimizer state muon={config.muon} cannot take "
            f"over; leave the choice out, or train into another folder"
        )
    open_choices = {name: began.get(name) for name in ("bf16", "muon") if getattr(config, name) is None}
    return replace(config, **open_choices)


def read_log(out: Path, needed: tuple[str, ...] = ("step",)) -> list[Row]:
    """Rows of a run's log; a torn last line, as a killed run may leave, is not one.

    Args:
        out: Folder that was trained into.
        needed: Keys that every row must have.

    Returns:
        One row a step.

    Raises:
        ModelError: Another line than the last is no row, or a row lacks a needed key.
    """
    path = out / LOG
    rows = []
    lines = read_lines(path, "the log", ModelError) if is_file(path) else []
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line, "it", ModelError)
            if not isinstance(row, dict) or not all(isinstance(value, int | float) for value in row.values()):
                raise ModelError(f"it must be a table of numbers, got {shown(row)}")
            rows.append(row)
        except ModelError as error:
            if number < len(lines):
                raise ModelError(
                    f"{path} is damaged: line {number} is no row of a training log ({error}); delete that line"
                ) from None
    for key in needed:
        if any(key not in row for row in rows):
            raise ModelError(f"{path} is no training log: a row lacks {key}; train into another folder")
    return rows


def _forget_after(path: Path, count: int) -> None:
    # steps after the last checkpoint are taken again
    kept = [json.dumps(row) + "\n" for row in read_log(path.parent) if row["step"] <= count]
    write_text(path, "".join(kept), ModelError)
