"""Training: right positions, right targets, exact resumption."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from videosieve.errors import ModelError
from videosieve.judging.evaluate import bootstrap_intervals, evaluate, unseen_captions
from videosieve.judging.judge import Verdict
from videosieve.shapes.checkpoint import read_checkpoint, write_checkpoint
from videosieve.shapes.model import Networks, build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.training import precision
from videosieve.shapes.training import trainer as trainer_module
from videosieve.shapes.training.objective import choose_frames, draw_batch, flow_loss, frame_subset
from videosieve.shapes.training.phases import Draw, Phase
from videosieve.shapes.training.train import read_log, train
from videosieve.shapes.training.trainer import TrainConfig, Trainer
from videosieve.shapes.training.transfer import _interleaved, transfer
from videosieve.shapes.weights import export, load_shapes

TINY = TrainConfig(
    model="shapes-nano",
    samples=24,
    warmup=8,
    bf16=False,
    compile=False,
    reading_steps=2,
    phases=(Phase(0.5, (Draw(2, 4),)), Phase(1.0, (Draw(3, 4, 0.5), Draw(2, 4, 0.5)), emphasis=1.0)),
)


def _batch(seed: int = 0, **changes: float):
    networks = build_networks("shapes-nano")
    phase = Phase(1.0, (), **{"two_objects": 0.5, "emphasis": 3.0, **changes})
    seeds = torch.arange(8) + seed
    return networks, draw_batch(seeds, 4, 16, phase, networks.tokenizer, networks.codec)


def test_a_frame_subset_has_the_rotary_rows_of_the_whole_clip():
    transformer = build_networks("shapes-nano").transformer
    whole = transformer.rope(torch.zeros(1, 12, 16, 8, 8))
    frames = torch.tensor([2, 7, 12])
    with frame_subset(transformer, frames):
        some = transformer.rope(torch.zeros(1, 12, 3, 8, 8))
    for table, part in zip(whole, some, strict=True):
        rows = table.reshape(16, 16, -1)[frames].reshape(48, -1)
        assert torch.equal(part, rows)
    assert torch.equal(transformer.rope(torch.zeros(1, 12, 16, 8, 8))[0], whole[0])


def test_frames_are_evenly_spaced_and_inside_the_clip():
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 4, 8, 16):
        for _ in range(40):
            frames = choose_frames(count, generator)
            assert len(frames) == count
            assert frames.min() >= 0
            assert frames.max() <= 15
            assert len(frames.diff().unique()) <= 1
            assert count == 1 or frames.diff().min() > 0


def test_a_batch_is_a_pure_function_of_its_seeds():
    (_, first), (_, again), (_, other) = _batch(), _batch(), _batch(seed=8)
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.input_ids, again.input_ids)
    assert torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.noise, other.noise)


def test_a_perfect_velocity_has_no_loss_and_a_zero_velocity_has_the_weighted_one():
    networks, batch = _batch()
    target = batch.noise - batch.latents
    networks.transformer.forward = lambda **_: (target,)
    assert float(flow_loss(networks, batch)[0]) == 0
    networks.transformer.forward = lambda **_: (torch.zeros_like(target),)
    weighted = (batch.weight * target.square()).sum() / (batch.weight.sum() * 12)
    torch.testing.assert_close(flow_loss(networks, batch)[0], weighted)


def test_what_the_transformer_sees_is_the_noisy_clip_at_its_timestep():
    networks, batch = _batch()
    seen = {}
    networks.transformer.forward = lambda **given: (seen.update(given), torch.zeros_like(batch.noise))[1:]
    flow_loss(networks, batch)
    sigma = batch.sigma.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(seen["hidden_states"], batch.latents + sigma * (batch.noise - batch.latents))
    torch.testing.assert_close(seen["timestep"], batch.sigma * 1000)


def test_emphasis_weighs_objects_and_one_is_plain():
    _, batch = _batch(emphasis=3.0)
    assert set(batch.weight.unique().tolist()) == {1.0, 3.0}
    bright = batch.latents.amax(1, keepdim=True) > 1.2  # object pixels, in latent units
    assert batch.weight[bright].min() == 3.0
    assert _batch(emphasis=1.0)[1].weight.unique().tolist() == [1.0]


def test_about_a_tenth_of_captions_is_dropped():
    networks = build_networks("shapes-nano")
    parts = (networks.tokenizer, networks.codec)
    batch = draw_batch(torch.arange(400), 1, 8, Phase(1.0, (), 0.5, 1.0), *parts)
    empty = (batch.attention_mask.sum(1) == 2).float().mean()
    assert 0.05 < float(empty) < 0.15


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, muon: bool):
    config = replace(TINY, muon=muon)
    train(config, tmp_path / "whole")
    broken = Trainer(config)
    for _ in range(2):
        broken.step()
    (tmp_path / "broken").mkdir()
    broken.save(tmp_path / "broken" / "checkpoint.safetensors")
    train(config, tmp_path / "broken", resume=True)
    whole, _ = read_checkpoint(tmp_path / "whole" / "checkpoint.safetensors")
    resumed, state = read_checkpoint(tmp_path / "broken" / "checkpoint.safetensors")
    assert state["samples"] == 24
    assert state["count"] == 6
    assert whole.keys() == resumed.keys()
    for key in whole:
        assert torch.equal(whole[key], resumed[key]), key
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows] == [4, 8, 12, 16, 20, 24]
    drawn = [config.phases[step >= 3].draw(config.seed, step).frames for step in range(6)]
    assert [row["frames"] for row in rows] == drawn
    assert set(drawn[3:]) == {2, 3}


def test_batches_are_drawn_as_often_as_their_shares_say():
    phase = Phase(1.0, (Draw(2, 4, 3.0), Draw(16, 2, 1.0)))
    drawn = [phase.draw(0, step) for step in range(400)]
    assert 0.7 < sum(draw.frames == 2 for draw in drawn) / 400 < 0.8
    assert drawn == [phase.draw(0, step) for step in range(400)]
    assert drawn != [phase.draw(1, step) for step in range(400)]


def test_training_lowers_the_loss_on_a_batch_it_has_not_seen():
    trainer = Trainer(replace(TINY, samples=40 * 8, warmup=1, lr=3e-3, phases=(Phase(1.0, (Draw(2, 8),)),)))
    parts = (trainer.networks.tokenizer, trainer.networks.codec)
    fixed = draw_batch(torch.arange(16) + 10**9, 2, 16, Phase(1.0, (), 0.5, 3.0), *parts)
    with torch.no_grad():
        before, _ = flow_loss(trainer.networks, fixed)
        for _ in range(40):
            with torch.enable_grad():
                trainer.step()
        assert flow_loss(trainer.networks, fixed)[0] < 0.9 * before


def test_the_average_is_between_the_first_and_the_last_weights():
    trainer = Trainer(TINY)
    key = next(key for key in trainer.average if key.endswith("x_embedder.proj.weight"))
    first = trainer.average[key].clone()
    for _ in range(3):
        trainer.step()
    last = trainer.trained.state_dict()[key]
    assert 0 < (trainer.average[key] - last).norm() < (first - last).norm()


def test_a_pause_costs_no_budget():
    trainer = Trainer(TINY)
    for _ in range(5):
        trainer._clock(1.0)
    trainer._clock(3600.0)
    assert trainer.spent == pytest.approx(5 + 3.0)


def test_the_budget_in_minutes_sets_the_progress():
    trainer = Trainer(replace(TINY, samples=0, minutes=2.0))
    trainer.spent = 30.0
    assert trainer.progress == pytest.approx(0.25)


def test_an_exported_run_loads_and_is_judged(tmp_path: Path):
    trainer = Trainer(TINY)
    trainer.step()
    (tmp_path / "run").mkdir()
    trainer.save(tmp_path / "run" / "checkpoint.safetensors")
    export(tmp_path / "run", tmp_path / "model")
    assert all(file.stat().st_size < 2**24 for file in (tmp_path / "model").rglob("*") if file.is_file())
    pipe = load_shapes(tmp_path / "model")
    key = "x_embedder.proj.weight"
    averaged = next(value for name, value in trainer.average.items() if name.endswith(key))
    torch.testing.assert_close(pipe.transformer.state_dict()[key], averaged.bfloat16().float())
    result = evaluate(pipe, unseen_captions(3), steps=1)
    assert len(result.verdicts) == 3
    assert result.videos.shape == (3, 16, 3, 16, 16)
    assert 0 <= result.scores["all"] <= 1


def test_unseen_captions_are_repeatable_and_new_for_another_seed():
    assert unseen_captions(5) == unseen_captions(5)
    assert unseen_captions(5) != unseen_captions(5, seed=1)


def test_training_never_overwrites_and_refuses_foreign_files(tmp_path: Path):
    train(replace(TINY, samples=4), tmp_path)
    with pytest.raises(ModelError, match="would be overwritten"):
        train(TINY, tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="not a training checkpoint"):
        train(TINY, tmp_path, resume=True)
    write_checkpoint(tmp_path / "checkpoint.safetensors", {}, {"config": {"model": "shapes-m"}})
    with pytest.raises(ModelError, match="holds 'shapes-m'"):
        train(TINY, tmp_path, resume=True)
    with pytest.raises(ModelError, match="one of shapes-s"):
        build_networks("shapes-xl")


def test_a_stop_ends_the_run_after_the_step_with_a_checkpoint(tmp_path: Path):
    seen = []
    train(TINY, tmp_path, watch=lambda row, _: seen.append(row["step"]), stop=lambda: len(seen) == 2)
    assert seen == [1, 2]
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["count"] == 2


def test_steps_after_the_last_checkpoint_are_taken_again_and_logged_once(tmp_path: Path):
    train(TINY, tmp_path, stop=lambda: True)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "samples": 8, "loss": 9.0}\n{"step": 3, "sam')
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2]
    train(TINY, tmp_path, resume=True)
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[1]["loss"] != 9.0


def test_a_full_disk_leaves_the_last_checkpoint_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, {"x": torch.ones(2)}, {"count": 1})

    def full(_tensors: dict, part: Path, **_: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ModelError, match=r"No space left.*the earlier one is intact; make room"):
        write_checkpoint(path, {"x": torch.zeros(2)}, {"count": 2})
    assert read_checkpoint(path)[1] == {"count": 1}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_resuming_nothing_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="to resume"):
        train(TINY, tmp_path, resume=True)


def test_bootstrap_intervals_hold_the_mean_and_narrow_with_more_videos():
    right, wrong = (Verdict({"colour": share, "motion": 1.0}, share, ()) for share in (1.0, 0.0))
    few, many = [right, wrong] * 8, [right, wrong] * 128
    for verdicts in (few, many):
        low, high = bootstrap_intervals(verdicts)["colour"]
        assert low < 0.5 < high
        assert bootstrap_intervals(verdicts)["motion"] == (1.0, 1.0)
    # 1.96 standard errors of a share of one half
    low, high = bootstrap_intervals(many)["colour"]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 256**0.5, rel=0.2)


def test_joined_heads_compute_the_sum_of_the_scores_of_their_parts():
    small, large = build_networks("shapes-s"), build_networks("shapes-m", seed=1)
    transfer(ShapesPipeline.from_networks(small), large)
    hidden = torch.randn(1, 16, 192, generator=torch.Generator().manual_seed(0))

    def scores(networks: Networks, head_dim: int) -> torch.Tensor:
        attention = networks.transformer.single_transformer_blocks[0].attn
        q, k = (
            linear(hidden).unflatten(2, (-1, head_dim)).transpose(1, 2)
            for linear in (attention.to_q, attention.to_k)
        )
        return q @ k.mT

    apart, joined = scores(small, 32), scores(large, 64)
    torch.testing.assert_close(joined, apart.unflatten(1, (3, 2)).sum(2), rtol=1e-4, atol=1e-5)
    assert torch.equal(large.text_encoder.positions.weight, small.text_encoder.positions.weight)


def test_pairs_keep_their_place_in_the_rotary_axes():
    order = _interleaved((4, 2)).tolist()
    assert order == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]


def test_a_run_can_start_from_other_weights_and_refuses_what_does_not_fit(tmp_path: Path):
    train(TINY, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "model")
    started = Trainer(replace(TINY, start=str(tmp_path / "model")))
    pipe = load_shapes(tmp_path / "model")
    for key, value in pipe.transformer.state_dict().items():
        assert torch.equal(started.networks.transformer.state_dict()[key], value), key
    with pytest.raises(ModelError, match="same width"):
        Trainer(replace(TINY, model="shapes-s", start=str(tmp_path / "model")))


@pytest.mark.parametrize("faster", [torch.float32, torch.bfloat16])
def test_arithmetic_that_is_left_open_is_the_faster_one(monkeypatch, faster):
    monkeypatch.setattr(precision, "_fastest", lambda _device, dtype: 1.0 if dtype == faster else 2.0)
    trainer = Trainer(replace(TINY, bf16=None, muon=None))
    assert trainer.config.bf16 is trainer.config.muon is (faster == torch.bfloat16)
    assert len(trainer.optimizers) == 1 + (faster == torch.bfloat16)
    kept = Trainer(replace(TINY, bf16=None, muon=False))
    assert kept.config.muon is False


def test_a_resumed_run_keeps_the_arithmetic_that_it_began_with(monkeypatch, tmp_path: Path):
    begun = replace(TINY, samples=8, muon=True)
    train(begun, tmp_path)
    monkeypatch.setattr(trainer_module, "bfloat16_pays", lambda _device: False)
    on = train(replace(begun, samples=16, muon=None, bf16=None), tmp_path, resume=True)
    assert (on.config.muon, on.config.bf16) == (True, False)
    assert len(on.optimizers) == 2
    with pytest.raises(ModelError, match="was trained with muon=True"):
        train(replace(begun, samples=24, muon=False), tmp_path, resume=True)


@pytest.mark.parametrize(("name", "other"), [("seed", 9), ("start", "shapes-s")])
def test_a_run_that_began_otherwise_is_not_resumed(tmp_path: Path, name: str, other: object):
    begun = replace(TINY, samples=8)
    train(begun, tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ModelError, match=f"begun with {name}="):
        train(replace(begun, samples=16, **{name: other}), tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
