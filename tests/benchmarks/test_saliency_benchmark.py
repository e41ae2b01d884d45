"""The saliency evaluation: perfect maps score 1, and a run goes on where it stopped."""

import json

import pytest
import torch

from benchmarks import saliency as benchmark
from benchmarks import saliency_aim as aim
from benchmarks import saliency_pictures as pictures
from benchmarks import saliency_tables as tables
from videosieve.integrations.diffusers.concepts import probes as concept_probes
from videosieve.metrics import Counts
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.world.captions import check_prompt
from videosieve.shapes.world.factors import sample_factors


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
    sites = {"default", "every layer", "all"} | {
        f"layer {layer}, step {step}" for layer in (0, 1) for step in (3, 5, 8)
    }
    assert set(total) == set(benchmark.VARIANTS)
    assert all(set(scores) == sites for scores in total.values())
    assert total["concept"]["layer 1, step 5"].pixels == 16 * 16 * 16
    assert total["concept"]["default"] == total["concept"]["every layer"] != total["concept"]["all"]
    precisions = {scores["all"].precisions for scores in total.values()}
    assert len(precisions) == len(total)  # no variant is another one by mistake
    monkeypatch.setattr(benchmark, "evaluate_clip", lambda *_: pytest.fail("computed again"))
    assert benchmark.evaluate(pipe, 1, tmp_path, levels=(3, 5)) == total
    assert [file.name for file in tmp_path.iterdir()] == ["00000.json"]
    json.loads((tmp_path / "00000.json").read_text())


def fake_scores():
    def figures(miou):
        keys = ("pixel_accuracy", "miou", "object_iou", "average_precision", "pooled_miou")
        return dict.fromkeys(keys, miou)

    levels = {"concept": 0.8, "concept, sees the video only": 0.7, "concept, sees concepts only": 0.3}
    levels |= {"concept, sees nothing": 0.4, "cross_attention": 0.5}
    sites = {
        name: {"default": figures(value), "every layer": figures(value), "all": figures(0.1)}
        for name, value in levels.items()
    }
    for scores in sites.values():
        scores |= {
            f"layer {layer}, step {step}": figures(layer / 10 + step / 100)
            for layer in (0, 10)
            for step in (3, 5)
        }
    return sites


def test_the_tables_name_the_best_site_and_judge_the_paper_and_the_goal():
    scores = fake_scores()
    aims = [{"aim": 1.25, "best_head": 2.0, "output_likeness": 0.9, "value_likeness": 0.1}]
    results = {"clips": 2, "model": "m", "steps": 10, "scores": scores, "aim": aims}
    text = tables.report(results)
    assert "| concept | 0.800 | 0.800 | 0.800 | 0.800 | 0.800 |" in text
    assert "| cross_attention (layer 10, step 5) | 1.050 |" in text
    assert "| 10 | 1.030 | 1.050 |" in text
    assert "| 0 | 1.25 | 2.00 | 0.90 | 0.10 |" in text
    verdicts = tables.verdicts(scores)
    assert all("no" not in line.split(": ")[-1] for line in verdicts[:5])
    assert "reached with 0.800 and 0.500" in verdicts[-1]
    scores["cross_attention"]["default"]["miou"] = 0.75
    assert "own default layers: 0.750" in tables.verdicts(scores)[-1]
    scores["cross_attention"]["every layer"]["miou"] = 0.75
    assert "missed" in tables.verdicts(scores)[-1]


def test_aim_is_the_mass_on_the_object_over_its_area(monkeypatch):
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    clip = benchmark.render_clip(benchmark.FIRST_SEED, pipe.vae.sample_size)
    assert clip.truth.sum(0).eq(1).all()
    before = concept_probes.attend_concepts
    rows = aim.measure_aim(pipe, [clip])
    assert concept_probes.attend_concepts is before
    assert len(rows) == 2
    assert all(
        0.5 < row["aim"] < 2 and row["aim"] <= row["best_head"] for row in rows
    )  # random weights: no aim
    weights = torch.zeros(2, 1, 8)
    weights[0, 0, :2] = 0.5
    weights[1, 0] = 0.1
    area = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0])
    measured = aim._aim((weights, torch.eye(2), torch.ones(2, 2)), area, 0)  # pyright: ignore[reportPrivateUsage]
    assert measured == pytest.approx([2.5, 4.0, 0.0, 1.0])


def test_other_weights_have_another_fingerprint():
    one, same = (ShapesPipeline.from_networks(build_networks("shapes-nano")) for _ in range(2))
    assert benchmark.fingerprint(one) == benchmark.fingerprint(same)
    other = ShapesPipeline.from_networks(build_networks("shapes-nano", seed=1))
    assert benchmark.fingerprint(one) != benchmark.fingerprint(other)
    same.register_to_config(saliency_layers={"concept": [0]})
    assert benchmark.fingerprint(one) != benchmark.fingerprint(same)


def test_default_layers_differ_by_method():
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    pipe.register_to_config(saliency_layers={"cross_attention": [1]})
    scores = benchmark.evaluate_clip(pipe, 0, levels=(8,))
    assert scores["cross_attention"]["default"] == scores["cross_attention"]["layer 1, step 8"]
    assert scores["cross_attention"]["default"] != scores["cross_attention"]["every layer"]
    assert scores["concept"]["default"] == scores["concept"]["every layer"]


@pytest.mark.filterwarnings("ignore:nothing was sparse")  # the nano model has too few tokens
def test_pictures_are_drawn(tmp_path):
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    files = pictures.draw_pictures(pipe, tmp_path, benchmark.FIRST_SEED, steps=1)
    assert {"saliency_generated.png", "saliency_given.png", "inspection_heads.png"} <= {
        file.name for file in files
    }
    assert all(file.stat().st_size > 5000 for file in files)
