"""A tune from end to end on a tiny model: it finds, resumes, refuses, and what it writes loads."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import videosieve
from videosieve.errors import OutputError, PromptError, RecipeError
from videosieve.generation.request import Request
from videosieve.metrics import relative_l2
from videosieve.recipe import Recipe
from videosieve.tuning.capture import capture, only_target, steps_to_look_at
from videosieve.tuning.files import write_outcome
from videosieve.tuning.order import Order, check_start, default_prompts, make_order
from videosieve.tuning.outcome import Moment, Outcome
from videosieve.tuning.screening import screen
from videosieve.tuning.search import Goal, Point, families
from videosieve.tuning.tune import run_tune, tune

PROMPT = "a large red circle moves left over a striped background"
BASE = Request("", steps=3, guidance=1.0)
METHODS = ("svg", "window_residual", "caching")


def order(minutes: float = 60.0, **changes: Any) -> Order:
    given: dict[str, Any] = {"methods": METHODS, "minutes": minutes, "model": "nano", "base": BASE} | changes
    return make_order(Goal(psnr=20), [PROMPT], **given)


class Stop:
    """Interrupts after so many measurements."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.stages: list[str] = []

    def __call__(self, moment: Moment) -> None:
        self.stages.append(moment.stage)
        self.left -= moment.fresh is not None
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def tuned(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path, list[str]]:
    """Interrupted once, then finished with a budget that allows no further search."""
    folder = tmp_path_factory.mktemp("tuned") / "out"
    first = Stop(2)
    with pytest.raises(KeyboardInterrupt, match="2 measurements are kept"):
        run_tune(nano, order(start=(Recipe.of("svg", min_tokens=0),)), folder, first)
    second = Stop(-1)
    outcome = run_tune(nano, order(1e-3, start=(Recipe.of("svg", min_tokens=0),)), folder, second)
    write_outcome(outcome, folder, best_effort=True)
    return outcome, folder, second.stages


def test_what_was_measured_before_the_interruption_is_not_done_again(
    tuned: tuple[Outcome, Path, list[str]],
):
    outcome, folder, stages = tuned
    assert len(outcome.points) == 2
    assert not {"looking", "screening", "searching"} & set(stages)
    assert "checking" in stages
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    kinds = [line.get("kind") for line in lines[1:]]
    assert [kind for kind in kinds if kind in ("screen", "point")] == ["screen", "point", "point"]
    assert kinds[: kinds.index("screen")] == ["look", "tables", *["looked"] * len(outcome.screen.looked)]


def test_recipes_to_start_with_come_first(tuned: tuple[Outcome, Path, list[str]]):
    assert tuned[0].points[0].candidate.words() == "svg"


def test_the_recipe_loads_and_makes_the_same_video(nano: Any, tuned: tuple[Outcome, Path, list[str]]):
    outcome, folder, _ = tuned
    arguments = {"num_inference_steps": 3, "true_cfg_scale": 1.0, "output_type": "pt"}
    videos = []
    for recipe in (folder / "recipe.toml", outcome.recipe):
        generator = torch.Generator().manual_seed(1)
        with videosieve.sparsify(nano, recipe) as run:
            videos.append(nano(PROMPT, generator=generator, **arguments).frames)
        assert run.summary().run_density < 1
    assert torch.equal(*videos)


def test_the_provenance_has_model_machine_prompts_and_both_figures(
    tuned: tuple[Outcome, Path, list[str]],
):
    outcome, folder, _ = tuned
    known = Recipe.load(folder / "recipe.toml").provenance
    assert known["family"] == "HunyuanVideo"
    assert f"PSNR {outcome.best.psnr:.2f} dB" in known["search"]
    assert f"PSNR {outcome.check.psnr:.2f} dB" in known["check"]
    assert PROMPT in known["search"]
    assert "seed 0" in known["search"]
    assert "seed 1" in known["check"]
    assert "torch" in known["versions"]


def test_the_table_has_every_measurement(tuned: tuple[Outcome, Path, list[str]]):
    outcome, folder, _ = tuned
    table = json.loads((folder / "tune.json").read_text())
    assert [row["psnr"] for row in table["points"]] == [point.psnr for point in outcome.points]
    assert table["check"]["speedup"] == outcome.check.speedup
    assert table["reached"] == outcome.reached
    for name in ("tune.svg", "tune.png"):
        assert (folder / name).stat().st_size > 1000


def test_the_search_and_the_check_share_no_video():
    asked = order()
    assert not {(r.prompt, r.seed) for r in asked.search} & {(r.prompt, r.seed) for r in asked.check}
    assert len(asked.check) == 3


def test_a_tune_of_another_target_is_refused(nano: Any, tuned: tuple[Outcome, Path, list[str]]):
    other = make_order(Goal(psnr=25), [PROMPT], methods=METHODS, model="nano", base=BASE)
    with pytest.raises(OutputError, match=r"other settings \(goal"):
        run_tune(nano, other, tuned[1])


def test_a_folder_with_other_files_is_refused(nano: Any, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="other files"):
        tune(nano, [PROMPT], psnr=30, folder=tmp_path, base=BASE)


def test_the_recipe_of_a_missed_target_is_written_only_on_request(
    tuned: tuple[Outcome, Path, list[str]], tmp_path: Path
):
    outcome = tuned[0]
    missed = replace(outcome, check=replace(outcome.check, psnrs=(0.5,) * outcome.check.prompts))
    assert not missed.reached
    write_outcome(missed, tmp_path)
    assert not (tmp_path / "recipe.toml").exists()
    write_outcome(missed, tmp_path, best_effort=True)
    assert "NOT reached" in Recipe.load(tmp_path / "recipe.toml").provenance["source"]
    write_outcome(missed, tmp_path)
    assert not (tmp_path / "recipe.toml").exists()


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ([], {}, "needs prompts"),
        ([" "], {}, "none of them empty"),
        ([PROMPT, PROMPT], {}, "counts once"),
        ([PROMPT], {"check_prompts": [PROMPT]}, "counts once"),
        (PROMPT, {}, "list of texts"),
    ],
)
def test_prompts_are_checked(prompts: Any, options: dict[str, Any], words: str):
    with pytest.raises(PromptError, match=words):
        make_order(Goal(psnr=30), prompts, **options)


def test_a_recall_target_has_no_use_for_caching_alone():
    with pytest.raises(RecipeError, match="a recall target needs a method"):
        make_order(Goal(recall=0.9), [PROMPT], methods=("caching",))


def test_caching_alone_needs_no_method(nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "videosieve.tuning.tune._Work._has_time", lambda *_: False
    )  # one measurement is enough
    found = tune(nano, [PROMPT], psnr=5, methods=("caching",), base=BASE, folder=tmp_path / "out")
    assert [point.candidate.family for point in found.points] == ["caching"]
    assert found.recipe.schedule.reused_kinds


def test_models_without_captions_need_prompts():
    with pytest.raises(PromptError, match="--prompt"):
        default_prompts("Wan-AI/Wan2.1", [], [])
    search, check = default_prompts("shapes-s", [], [])
    assert not set(search) & set(check)


def test_recipes_for_other_models_are_refused(nano: Any):
    target = only_target(nano)
    for recipe, words in (
        (Recipe.of("svg-wan"), "for Wan, and this model is a HunyuanVideo"),
        (Recipe.from_toml('[method]\nname = "svg"\n[provenance]\nfamily = "CogVideoX"'), "for CogVideoX"),
        (Recipe.from_toml('[method]\nname = "svg"\n[schedule]\nplan = ["FF"]'), "plan is for 1 steps"),
    ):
        with pytest.raises(RecipeError, match=words):
            check_start(order(start=(recipe,)), target, 3)
    check_start(order(start=(Recipe.of("svg-hunyuanvideo"), Recipe.of("svg"))), target, 3)


def test_five_steps_are_looked_at_and_never_the_first():
    assert steps_to_look_at(50) == (5, 15, 25, 35, 45)
    assert steps_to_look_at(2) == (1,)


def test_a_screening_sees_that_dense_is_right_and_less_density_is_worse(nano: Any):
    seen = capture(nano, Request(PROMPT, steps=3, guidance=1.0))
    assert seen.tokens == 256
    assert float(seen.drift["attention"][:, 0].abs().max()) == 0
    assert 0 < float(seen.share["core"].sum()) < float(seen.share["attention"].sum()) < 1
    dual, single = seen.target.transformer.config.num_layers, seen.target.layers - 1
    assert float(seen.share["mlp"][0]) > 0 == float(seen.share["mlp"][single])
    assert float(seen.share["joint"][single]) > 0 == float(seen.share["joint"][dual - 1])
    tables = screen(seen, families(["svg"], seen.tokens))
    for rows in tables.by_family.values():
        errors = [float(row.error.mean()) for row in rows]
        recalls = [float(row.recall.mean()) for row in rows]
        assert errors == sorted(errors, reverse=True)
        assert recalls == sorted(recalls)
        assert all(0 < recall <= 1 + 1e-6 for recall in recalls)
    assert (tables.sparse_harm > 0).all()
    assert set(tables.reuse_harm) == {"attention", "mlp", "joint"}
    assert all((table > 0).all() for table in tables.reuse_harm.values())


def test_centroids_and_other_orders_are_screened_as_they_will_run(nano: Any):
    """What answers for what is left out makes the error smaller at the same density, and not the recall larger."""
    seen = capture(nano, Request(PROMPT, steps=3, guidance=1.0))
    names = [f"xattention{more}-32" for more in ("", "+centroids", "+4x4x2")]
    listed = [
        f for name in names for f in families([name.removesuffix("-32")], seen.tokens) if f.name == name
    ]
    plain, answered, cubes = (screen(seen, [f], keep=names).by_family[f.name] for f in listed)
    for without, with_centroids in zip(plain, answered, strict=True):
        assert float(with_centroids.error.mean()) < float(without.error.mean())
        torch.testing.assert_close(with_centroids.recall, without.recall, atol=1e-5, rtol=0)
    assert any(not torch.equal(a.error, b.error) for a, b in zip(plain, cubes, strict=True))


def test_a_replayed_dense_call_is_the_captured_one(nano: Any):
    from videosieve.tuning.replay import Replay

    seen = capture(nano, Request(PROMPT, steps=3, guidance=1.0))
    with Replay(seen, Recipe.of("dense")) as replay:
        for step in seen.looked:
            assert relative_l2(replay(step), seen.outputs[step]) < 1e-5


def test_a_measurement_is_given_up_when_the_target_is_out_of_reach(nano: Any):
    from videosieve.tuning.search import Candidate
    from videosieve.tuning.trials import Bench

    requests = [Request(PROMPT, steps=2, guidance=1.0, seed=seed) for seed in (0, 1)]
    recipe = Recipe.of("spatial_only", density=0.05, dense_steps=0, min_tokens=0, block=16)
    poor: Point = Bench(nano, requests, Goal(psnr=99), 2).measure(Candidate("svg", 0.05), recipe, [])
    assert len(poor.psnrs) == 1
    assert not poor.complete
    kept = Bench(nano, requests, Goal(psnr=1), 2).measure(Candidate("svg", 0.05), recipe, [])
    assert kept.complete
    assert all(math.isfinite(value) for value in kept.psnrs)
