"""The saliency evaluation: perfect maps score 1, and a run goes on where it stopped."""

import json

import pytest
import torch

from benchmarks import saliency as benchmark
from videosieve.metrics import Counts
from videosieve.shapes.captions import check_prompt
from videosieve.shapes.factors import sample_factors
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline


def make_truth():
    first = torch.zeros(2, 8, 8, dtype=torch.bool)
    first[:, :3, :3] = True
    second = torch.zeros_like(first)
    second[:, 5:, 5:] = True
    return torch.stack([first, second, ~(first | second)])


def test_perfect_maps_score_one_and_swapped_objects_none():
    truth = make_truth()
    perfect = benchmark.score_maps(truth.float(), truth).as_json()
    assert set(perfect.values()) == {1.0}
    swapped = benchmark.score_maps(truth[[1, 0, 2]].float(), truth)
    assert swapped.counts == Counts(0, 36, 36, 2 * 128 - 72)
    assert swapped.as_json()["object_iou"] == 0.0
    assert swapped.as_json()["pixel_accuracy"] == pytest.approx((128 - 36) / 128, abs=1e-4)
    assert (swapped + swapped).as_json() == swapped.as_json()


def test_every_clip_is_described_in_words_of_the_model():
    factors = sample_factors(torch.arange(20))
    for index in range(20):
        concepts = benchmark.name_concepts(factors.named(index))
        assert len(set(concepts)) == len(concepts) == int(factors.count[index]) + 1
        check_prompt(" ".join(concepts))


def test_a_run_scores_every_site_and_resumes(tmp_path, monkeypatch):
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    total = benchmark.evaluate(pipe, 1, tmp_path, levels=(3, 5))
    # Step 8 of 10 is nearest to half noise, so the library takes it where nobody says otherwise.
    sites = {"default", "all"} | {f"layer {layer}, step {step}" for layer in (0, 1) for step in (3, 5, 8)}
    assert set(total) == set(benchmark.VARIANTS)
    assert all(set(scores) == sites for scores in total.values())
    assert total["concept"]["layer 1, step 5"].pixels == 16 * 16 * 16
    assert total["concept"]["default"] != total["concept"]["all"]
    precisions = {scores["all"].precisions for scores in total.values()}
    assert len(precisions) == len(total)  # no variant is another one by mistake
    monkeypatch.setattr(benchmark, "evaluate_clip", lambda *_: pytest.fail("computed again"))
    assert benchmark.evaluate(pipe, 1, tmp_path, levels=(3, 5)) == total
    assert [file.name for file in tmp_path.iterdir()] == ["00000.json"]
    json.loads((tmp_path / "00000.json").read_text())
