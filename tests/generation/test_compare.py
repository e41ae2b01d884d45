"""Comparisons: dense first, the same noise, results that are whole at every moment."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.errors import OutputError, RecipeError
from videosieve.generation import compare as module
from videosieve.generation.compare import Stage, compare
from videosieve.generation.generate import Clip, generate
from videosieve.generation.plan import (
    DEFAULT_PROMPT,
    Plan,
    check_folder,
    clear_folder,
    cross_requests,
    name_recipes,
)
from videosieve.generation.recipes import make_recipes
from videosieve.generation.request import Request
from videosieve.generation.sweep import sweep_recipes, write_sweep
from videosieve.metrics import psnr, ssim
from videosieve.recipe import Recipe
from videosieve.report import Results
from videosieve.report.results import COMPLETE, INTERRUPTED, RUNNING
from videosieve.trace import Record, Trace

PROMPT = "a red circle moves left"
Finished = tuple[Results, Path, list[Stage]]
RECORD = Record(0, 0, "cond", "dense", "", "sdpa", 100, 1.0)
SETTINGS = ("min_tokens=0", "dense_steps=1")


def make_plan(methods: str = "svg,spatial_only", seeds: tuple[int, ...] = (0,), repeats: int = 1) -> Plan:
    requests = cross_requests(Request("", steps=2), [PROMPT], seeds, "shapes-nano")
    return Plan(requests, name_recipes(make_recipes(methods, 0.4, SETTINGS)), repeats, 8.0, "shapes-nano")


@pytest.fixture(scope="module")
def finished(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path, list[Stage]]:
    folder, stages = tmp_path_factory.mktemp("compare") / "made", []
    return compare(nano, make_plan(), folder, stages.append), folder, stages


def test_dense_comes_first_and_every_method_follows(finished: Finished):
    results, _, stages = finished
    assert [clip.method for clip in results.clips] == ["dense", "svg", "spatial_only"]
    assert [stage.result.method for stage in stages if stage.result] == ["dense", "svg", "spatial_only"]
    assert [stage.progress.step for stage in stages if stage.progress] == [1, 2] * 3
    assert results.status == COMPLETE


def test_fidelity_is_measured_on_the_frames_before_the_codec(finished: Finished, nano: Any):
    results, _, _ = finished
    request = make_plan().requests[0]
    dense, sparse = (
        generate(nano, request, recipe).frames for recipe in list(make_plan().recipes.values())[:2]
    )
    svg = results.clips[1]
    expected = psnr(sparse, dense)
    assert svg.psnr == pytest.approx(expected.mean, abs=1e-3)
    assert svg.psnr_frames == pytest.approx(expected.frames, abs=1e-3)
    assert svg.psnr_worst == pytest.approx(expected.worst, abs=1e-3)
    assert svg.ssim == pytest.approx(ssim(sparse, dense), abs=1e-5)
    assert results.clips[0].psnr is None


def test_numbers_agree_with_the_traces_on_disk(finished: Finished):
    results, folder, _ = finished
    for clip in results.clips:
        summary = Trace.load(folder / clip.files["trace"]).summary()
        assert clip.run_density == pytest.approx(summary.run_density)
        assert clip.sparse_density == summary.sparse_density
        assert clip.recall == summary.recall
        assert clip.speedup == pytest.approx(results.clips[0].seconds / clip.seconds)
    assert results.clips[1].density_steps[0] == 1
    assert results.clips[1].density_steps[1] < 1


def test_the_folder_holds_everything_and_nothing_temporary(finished: Finished):
    results, folder, _ = finished
    named = {name for clip in results.clips for name in clip.files.values()}
    assert {entry.name for entry in folder.iterdir()} == {*named, "results.json", "report.html"}
    assert Results.load(folder) == results
    assert results.settings["frames"] == 16
    assert "density = 0.4" in results.recipes["svg"]


def test_an_interrupted_comparison_keeps_what_is_finished(nano: Any, tmp_path: Path):
    def stop(stage: Stage) -> None:
        if stage.method == "svg" and stage.progress:
            assert Results.load(tmp_path).status == RUNNING
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="1 of 3 videos are finished and valid"):
        compare(nano, make_plan(), tmp_path, stop)
    results = Results.load(tmp_path)
    assert results.status == INTERRUPTED
    assert [clip.method for clip in results.clips] == ["dense"]
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "results.json", "report.html", "dense.mp4", "dense.png", "dense.trace.jsonl",
    }  # fmt: skip


def test_running_again_replaces_results_and_leaves_other_files(finished: Finished, tmp_path: Path):
    results, _, _ = finished
    for name in ("svg.mp4", "notes.txt"):
        (tmp_path / name).touch()
    results.save(tmp_path)
    assert check_folder(tmp_path)
    clear_folder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """Generation replaced by a table of seconds; remembers (recipe, seed, warm-up)."""
    calls: list[tuple[str, int, bool]] = []
    seconds = iter([5.0, 3.0, 4.0, 9.0, 1.0, 2.0, *[1.0] * 20])

    def fake(pipe: Any, request: Request, recipe: Recipe, *, warm_up: bool, progress: object) -> Clip:
        calls.append((recipe.name, request.seed, warm_up))
        frames = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(request.seed))
        return Clip(frames, next(seconds), 0.5, 2, Trace([RECORD]))

    monkeypatch.setattr(module, "generate", fake)
    return calls


def test_the_median_of_the_repeats_is_kept(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    results = compare(nano, make_plan("svg", repeats=3), tmp_path)
    assert [clip.seconds for clip in results.clips] == [4.0, 2.0]
    assert results.clips[0].all_seconds == [5.0, 3.0, 4.0]
    assert results.clips[1].speedup == 2.0
    assert [warm_up for _, _, warm_up in made_up] == [True, False, False] * 2


def test_every_seed_has_its_own_baseline(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    results = compare(nano, make_plan("svg", seeds=(4, 7)), tmp_path)
    assert made_up == [("dense", 4, True), ("svg", 4, True), ("dense", 7, False), ("svg", 7, False)]
    assert [clip.psnr for clip in results.clips] == [None, 100.0, None, 100.0]
    assert results.clips[3].files["video"] == "02-svg.mp4"


def test_a_sweep_says_what_each_density_cost(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    recipes = sweep_recipes(Recipe.of("svg", min_tokens=0), [0.2, 0.5])
    plan = dataclasses.replace(make_plan(), recipes=name_recipes(recipes.values()))
    paths = write_sweep(compare(nano, plan, tmp_path), recipes, tmp_path)
    assert [path.name for path in paths] == ["sweep.json", "sweep.svg", "sweep.png"]
    points = json.loads(paths[0].read_text())["points"]
    assert [(point["density"], point["psnr"]) for point in points] == [(0.2, 100.0), (0.5, 100.0)]
    assert [recipe.method.density for recipe in plan.recipes.values() if recipe.name != "dense"] == [0.2, 0.5]
    with pytest.raises(RecipeError, match="no density to sweep"):
        sweep_recipes(Recipe.of("dense"), [0.2, 0.5])


def test_folders_are_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="holds other files"):
        check_folder(tmp_path)
    assert not check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        check_folder(tmp_path / "a" / "b")


def test_plans_that_compare_nothing_are_refused():
    with pytest.raises(RecipeError, match="besides dense"):
        name_recipes([Recipe.of("dense")])
    with pytest.raises(RecipeError, match="two methods are called 'svg'"):
        name_recipes([Recipe.of("svg"), Recipe.of("svg", density=0.5)])
    with pytest.raises(RecipeError, match="none of them twice"):
        make_plan(seeds=(1, 1))
    with pytest.raises(RecipeError, match="repeats must be at least 1"):
        make_plan(repeats=0)


def test_only_bundled_models_have_a_default_prompt():
    base = Request("")
    assert [request.prompt for request in cross_requests(base, [], [0], "shapes-s")] == [DEFAULT_PROMPT]
    assert len(cross_requests(base, ["a", "b"], [0, 1, 2], "owner/name")) == 6
    with pytest.raises(RecipeError, match="needs a prompt"):
        cross_requests(base, [], [0], "owner/name")


def test_the_default_prompt_is_in_the_models_words():
    from videosieve.shapes.captions import parse_caption

    assert len(parse_caption(DEFAULT_PROMPT).objects) == 2
