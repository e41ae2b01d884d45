"""A training that was killed, at moments that its checkpoints do not show, and two in one folder."""

from pathlib import Path

import pytest

from videosieve.errors import ModelError
from videosieve.shapes.training.phases import Draw, Phase
from videosieve.shapes.training.train import CHECKPOINT, LOG, read_log, train
from videosieve.shapes.training.trainer import TrainConfig, Trainer

TINY = TrainConfig(
    model="shapes-nano", samples=8, warmup=2, bf16=False, compile=False, muon=False, reading_steps=0,
    phases=(Phase(1.0, (Draw(2, 4),)),),
)  # fmt: skip


def test_what_is_made_of_the_last_checkpoint_is_made_after_a_kill_behind_it(tmp_path: Path):
    def killed(trainer: Trainer) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, saved=killed)
    told: list[float] = []
    train(TINY, tmp_path, resume=True, saved=lambda trainer: told.append(trainer.progress))
    assert told == [1.0]
    assert len(read_log(tmp_path)) == 2


def test_a_run_without_a_checkpoint_begins_anew_over_a_torn_log(tmp_path: Path):
    (tmp_path / LOG).write_text('{"step": 1, "samples": 4, "loss": 9.0, "frames": 2}\n{"step": 2, "sam')
    train(TINY, tmp_path)
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["loss"] != 9.0
    assert (tmp_path / LOG).read_bytes().count(b"\n") == 2


def test_a_second_training_in_the_folder_is_refused_and_the_first_goes_on(tmp_path: Path):
    refused: list[str] = []

    def second(*_: object) -> None:
        with pytest.raises(
            ModelError, match=r"another process works on .*\(pid \d+\); wait for it, or train into an"
        ):
            train(TINY, tmp_path, resume=(tmp_path / CHECKPOINT).exists())
        refused.append("")

    train(TINY, tmp_path, watch=second)
    assert len(refused) == 2
    assert len(read_log(tmp_path)) == 2
