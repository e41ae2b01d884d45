"""Ablations of training: the score knows the right clip and the right caption, and x-prediction stays a velocity."""

import json

import pytest
import torch

from benchmarks import shapes_ablation
from benchmarks.shapes_ablation import FIRST_SEED, PHASE, VARIANTS, clip_error, read_as_clip, score, table
from videosieve.shapes.training.objective import draw_batch, predict_velocity
from videosieve.shapes.training.phases import Draw
from videosieve.shapes.training.trainer import TrainConfig, Trainer


@pytest.fixture
def trainer():
    return Trainer(TrainConfig("shapes-s", samples=4, compile=False, bf16=False))


def unseen(trainer, clips=2):
    networks = trainer.networks
    return draw_batch(FIRST_SEED + torch.arange(clips), 2, 32, PHASE, networks.tokenizer, networks.codec)


def test_the_true_velocity_has_no_error(trainer, monkeypatch):
    batch = unseen(trainer)
    monkeypatch.setattr(shapes_ablation, "predict_velocity", lambda *_: (batch.noise - batch.latents, None))
    assert clip_error(trainer, batch, 0.9, 0) == 0


def test_a_velocity_that_is_off_errs_by_sigma_squared(trainer, monkeypatch):
    batch = unseen(trainer)
    monkeypatch.setattr(
        shapes_ablation, "predict_velocity", lambda *_: (batch.noise - batch.latents + 1, None)
    )
    assert clip_error(trainer, batch, 0.5, 0) == pytest.approx(0.25, rel=1e-5)


def test_captions_of_other_clips_are_used(trainer, monkeypatch):
    batch, seen = unseen(trainer), []

    def predict(_networks, given):
        seen.append(given)
        return given.noise, None

    monkeypatch.setattr(shapes_ablation, "predict_velocity", predict)
    clip_error(trainer, batch, 0.5, 1)
    assert torch.equal(seen[0].input_ids[1], batch.input_ids[0])
    assert torch.equal(seen[0].latents, batch.latents)
    assert seen[0].sigma.tolist() == [0.5, 0.5]


def test_a_predicted_clip_is_turned_into_the_velocity(trainer, monkeypatch):
    batch = unseen(trainer)
    monkeypatch.setattr(trainer.networks.transformer, "forward", lambda **_: (batch.latents,))
    read_as_clip(trainer)
    velocity, _ = predict_velocity(trainer.networks, batch)
    assert batch.sigma.min() > 0.05
    torch.testing.assert_close(velocity, batch.noise - batch.latents, rtol=1e-3, atol=1e-3)


def test_a_run_is_scored_and_printed(monkeypatch):
    monkeypatch.setattr(shapes_ablation, "CLIPS", 2)
    monkeypatch.setattr(shapes_ablation, "PHASE", shapes_ablation.replace(PHASE, draws=(Draw(2, 2),)))
    variant = shapes_ablation.Variant({"emphasis": 1.0}, {"compile": False, "reading_steps": 0})
    row = json.loads(json.dumps(score("plain", variant, 4)))
    assert all(0 < error < 10 for error in row["error"] + row["error_with_other_captions"])
    assert table([row]).count("\n") == 2


def test_every_variant_changes_something_that_training_knows():
    for variant in VARIANTS.values():
        shapes_ablation.replace(PHASE, **variant.phase)
        TrainConfig(**variant.config)
