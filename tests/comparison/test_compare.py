"""Comparisons: dense first, the same noise, results that are whole at every moment."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.comparison import compare as module
from videosieve.comparison.compare import Stage, compare
from videosieve.comparison.plan import (
    DEFAULT_PROMPT,
    Plan,
    check_folder,
    clear_folder,
    cross_requests,
    name_recipes,
)
from videosieve.comparison.sweep import sweep_recipes, write_sweep
from videosieve.errors import OutputError, RecipeError, ShapeError
from videosieve.generation.generate import Clip, generate
from videosieve.generation.recipe_settings import make_recipes
from videosieve.generation.request import Request
from videosieve.kernels.native_library import refuse_products
from videosieve.methods import Dense
from videosieve.metrics import psnr, ssim
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.report import Results
from videosieve.report.results import COMPLETE, INTERRUPTED, RUNNING
from videosieve.trace import Trace

PROMPT = "a red circle moves left"
Finished = tuple[Results, Path, list[Stage]]
RECORD = Record(0, 0, "cond", "dense", "", "sdpa", 100, 1.0)
SETTINGS = ("min_tokens=0", "dense_steps=1")


def make_plan(
    methods: str = "svg,spatial_only", seeds: tuple[int, ...] = (0,), repeats: int = 1, *, floor: bool = False
) -> Plan:
    requests = cross_requests(Request("", steps=2), [PROMPT], seeds, "shapes-nano")
    recipes = name_recipes(make_recipes(methods, 0.4, SETTINGS))
    return Plan(requests, recipes, repeats, 8.0, "shapes-nano", floor, "videosieve compare --seed 0")


@pytest.fixture(scope="module")
def finished(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path, list[Stage]]:
    folder, stages = tmp_path_factory.mktemp("compare") / "made", []
    return compare(nano, make_plan(floor=True), folder, stages.append), folder, stages


def test_dense_comes_first_then_its_noise_floor_and_the_methods(finished: Finished):
    results, _, stages = finished
    names = [clip.method for clip in results.clips]
    assert names[0::2] == ["dense", "svg"]
    assert names[3] == "spatial_only"
    assert names[1].startswith("dense (")
    assert [clip.kind for clip in results.clips] == ["baseline", "floor", "method", "method"]
    assert [stage.result.method for stage in stages if stage.result] == names
    assert list(results.recipes) == names
    timed = [stage.timed for stage in stages]
    assert timed == sorted(timed)  # every recipe is warmed up first
    warm = [(stage.method, stage.progress.step) for stage in stages if stage.progress and not stage.timed]
    assert warm == [(name, step) for name in names if name != names[1] for step in (0, 1, 2)]
    assert [stage.progress.step for stage in stages if stage.progress and stage.timed] == [0, 1, 2] * 4
    assert results.status == COMPLETE


def test_the_floor_is_dense_by_another_kernel_and_only_rounding_away(finished: Finished):
    results, folder, _ = finished
    dense, floor, svg, _ = results.clips
    traces = [Trace.load(folder / clip.files["trace"]) for clip in (dense, floor)]
    kernels = [{record.kernel for record in trace.records} for trace in traces]
    assert kernels[0] == {results.dense_kernel} == {"sdpa"}
    assert len(kernels[1]) == 1
    assert not kernels[0] & kernels[1]
    assert Recipe.from_toml(results.recipes[floor.method]).method == Dense(*kernels[1])
    assert floor.run_density == 1
    assert floor.psnr is not None
    assert svg.psnr is not None
    assert floor.psnr > 80 > svg.psnr
    assert 0 < floor.scores["latent_relative_l2"] < 1e-4 < svg.scores["latent_relative_l2"]


def test_times_of_the_parts_memory_and_curves_are_there(finished: Finished):
    results, _, _ = finished
    for clip in results.clips:
        assert clip.text_seconds is not None
        assert clip.decode_seconds is not None
        assert 0 < clip.text_seconds + clip.denoising_seconds + clip.decode_seconds <= clip.seconds
        assert clip.peak_bytes is None or 0 < clip.peak_bytes < 2**30
        assert set(clip.accuracy or {}) == {"colour", "motion", "shape", "all"}
        assert 0 < clip.scores["flicker"] <= 1
    svg = results.clips[2]
    assert svg.dense_steps == [True, False]
    assert svg.recall_steps == [None, pytest.approx(svg.recall)]
    assert svg.ssim_frames is not None
    assert sum(svg.ssim_frames) / 16 == pytest.approx(svg.ssim)
    assert results.clips[0].dense_steps == [True, True]
    assert results.command == "videosieve compare --seed 0"
    assert "ms_ssim" in results.unavailable  # 16 pixels are too few for two scales


def test_fidelity_is_measured_on_the_frames_before_the_codec(finished: Finished, nano: Any):
    results, _, _ = finished
    request = make_plan().requests[0]
    dense, sparse = (
        generate(nano, request, recipe).frames for recipe in list(make_plan().recipes.values())[:2]
    )
    svg = results.clips[2]
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
    assert results.clips[2].density_steps[0] == 1
    assert results.clips[2].density_steps[1] < 1


def test_the_folder_holds_everything_and_nothing_temporary(finished: Finished):
    results, folder, _ = finished
    named = {name for clip in results.clips for name in clip.files.values()}
    assert {entry.name for entry in folder.iterdir()} == {*named, "results.json", "report.html"}
    assert Results.load(folder) == results
    assert results.settings["frames"] == 16
    assert "density = 0.4" in results.recipes["svg"]


def test_an_interrupted_comparison_keeps_what_is_finished(nano: Any, tmp_path: Path):
    def stop(stage: Stage) -> None:
        if stage.method == "svg" and stage.timed and stage.progress:
            assert Results.load(tmp_path).status == RUNNING
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="1 of 3 videos are finished and valid"):
        compare(nano, make_plan(), tmp_path, stop)
    results = Results.load(tmp_path)
    assert results.status == INTERRUPTED
    assert [clip.method for clip in results.clips] == ["dense"]
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "results.json", "report.html", "dense.mp4", "dense.png", "dense.trace.jsonl",
        "unfinished.jsonl", "baseline-0.safetensors",
    }  # fmt: skip


def test_running_again_replaces_results_and_leaves_other_files(finished: Finished, tmp_path: Path):
    results, _, _ = finished
    for name in ("svg.mp4", "notes.txt"):
        (tmp_path / name).touch()
    results.save(tmp_path)
    assert check_folder(tmp_path)
    clear_folder(tmp_path)
    # results.json stays until the new one replaces it: whoever is killed in between can begin again
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["notes.txt", "results.json"]
    assert check_folder(tmp_path)


def test_results_of_an_earlier_version_are_replaced_and_damaged_ones_refused(tmp_path: Path):
    (tmp_path / "svg.mp4").touch()
    (tmp_path / "notes.txt").touch()
    old = {
        "schema": 1,
        "clips": [{"method": "svg", "files": {"video": "svg.mp4", "poster": "../../out.png"}}],
    }
    (tmp_path / "results.json").write_text(json.dumps(old))
    assert check_folder(tmp_path)
    clear_folder(tmp_path)
    # results.json stays until the new one replaces it: whoever is killed in between can begin again
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["notes.txt", "results.json"]
    assert check_folder(tmp_path)
    for text in ("{", "[]", '{"clips": 3}', '{"clips": [{"files": null}]}'):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(OutputError, match="is damaged, so it is unknown which files are results"):
            check_folder(tmp_path)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """Generation replaced by a table of seconds; remembers (recipe, seed, rehearsal)."""
    calls: list[tuple[str, int, bool]] = []
    seconds = {"dense": iter([5.0, 3.0, 4.0, *[1.0] * 20]), "svg": iter([9.0, 1.0, 2.0, *[1.0] * 20])}

    def fake(pipe: Any, request: Request, recipe: Recipe, *, progress: object = "rehearsal") -> Clip:
        calls.append((recipe.name, request.seed, progress == "rehearsal"))
        frames = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(request.seed))
        took = 0.0 if progress == "rehearsal" else next(seconds.get(recipe.name, iter([1.0])))
        trace = Trace([dataclasses.replace(RECORD, milliseconds=took)])
        return Clip(frames, took, took / 2, 2, trace, took / 8, took / 4)

    monkeypatch.setattr(module, "generate", fake)
    monkeypatch.setattr(module, "rehearse", lambda *three_and_progress: fake(*three_and_progress[:3]))
    return calls


def test_the_median_of_the_repeats_is_kept(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    results = compare(nano, make_plan("svg", repeats=3), tmp_path)
    assert [clip.seconds for clip in results.clips] == [4.0, 2.0]
    assert results.clips[0].all_seconds == [5.0, 3.0, 4.0]
    assert results.clips[1].speedup == 2.0
    for clip in results.clips:  # all times are those of the median repeat, on disk too
        parts = (clip.denoising_seconds, clip.text_seconds, clip.decode_seconds, clip.attention_seconds)
        assert parts == (clip.seconds / 2, clip.seconds / 8, clip.seconds / 4, clip.seconds / 1000)
        assert (
            Trace.load(tmp_path / clip.files["trace"]).summary().attention_seconds == clip.attention_seconds
        )


def test_methods_take_turns_and_change_direction(
    nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]
):
    compare(nano, make_plan("svg,radial", seeds=(0, 1), repeats=2), tmp_path)
    assert [name for name, _, rehearsal in made_up if rehearsal] == ["dense", "svg", "radial"]
    runs = [name for name, _, rehearsal in made_up if not rehearsal]
    assert runs[:6] == ["dense", "svg", "radial", "radial", "svg", "dense"]
    assert runs[6:] == ["dense", "radial", "svg", "svg", "radial", "dense"]


def test_a_video_is_on_disk_after_its_first_repeat(
    nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]
):
    seen: list[list[list[float]]] = []

    def look(stage: Stage) -> None:
        if stage.timed and stage.video:
            seen.append([clip.all_seconds for clip in Results.load(tmp_path).clips])

    compare(nano, make_plan("svg", repeats=2), tmp_path, look)
    assert seen[0] == [[5.0]]
    assert seen[-1] == [[5.0, 3.0], [9.0, 1.0]]


def test_a_pipeline_that_changes_the_size_is_refused(
    nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fake(pipe: Any, request: Request, recipe: Recipe, *, progress: object = None) -> Clip:
        return Clip(torch.rand(2 + (recipe.name == "svg"), 3, 16, 24), 1.0, 0.5, 2, Trace([RECORD]))

    monkeypatch.setattr(module, "generate", fake)
    monkeypatch.setattr(module, "rehearse", lambda *three_and_progress: fake(*three_and_progress[:3]))
    with pytest.raises(ShapeError, match="2 frames of 24 × 16 pixels, got 3 of 24 × 16"):
        compare(nano, make_plan("svg"), tmp_path)
    assert Results.load(tmp_path).status == INTERRUPTED


@pytest.mark.skipif(refuse_products() is not None, reason="there are no products of bf16")
def test_what_prefers_bf16_stands_beside_dense_rounded_likewise(nano: Any, tmp_path: Path):
    plan = make_plan("svg", floor=True)
    recipes = name_recipes(make_recipes("svg", 0.4, (*SETTINGS, "prefer=bf16")))
    results = compare(nano, dataclasses.replace(plan, recipes=recipes), tmp_path)
    names, kinds = zip(*((clip.method, clip.kind) for clip in results.clips), strict=True)
    assert names == ("dense", "dense (native kernel)", "dense (native-bf16 kernel)", "svg")
    assert kinds == ("baseline", "floor", "floor", "method")
    _, plain, rounded, sparse = results.clips
    assert plain.psnr > rounded.psnr > sparse.psnr
    kernels = {record.kernel for record in Trace.load(tmp_path / sparse.files["trace"]).records}
    assert kernels == {"native-bf16"}
    assert "rounded to bf16" in (tmp_path / "report.html").read_text()


def test_every_seed_has_its_own_baseline(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    results = compare(nano, make_plan("svg", seeds=(4, 7)), tmp_path)
    assert made_up[:2] == [("dense", 4, True), ("svg", 4, True)]
    assert made_up[2:] == [("dense", 4, False), ("svg", 4, False), ("dense", 7, False), ("svg", 7, False)]
    assert [clip.psnr for clip in results.clips] == [None, 100.0, None, 100.0]
    assert results.clips[3].files["video"] == "01-svg.mp4"


def test_a_sweep_says_what_each_density_cost(nano: Any, tmp_path: Path, made_up: list[tuple[str, int, bool]]):
    recipes = sweep_recipes(Recipe.of("svg", min_tokens=0), [0.2, 0.5])
    plan = dataclasses.replace(make_plan(), recipes=name_recipes(recipes.values()))
    paths = write_sweep(compare(nano, plan, tmp_path), recipes, tmp_path)
    assert [path.name for path in paths] == ["sweep.json", "sweep.svg", "sweep.png", "sweep.html"]
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

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        check_folder(tmp_path / "a" / "b")


def test_plans_that_compare_nothing_are_refused():
    with pytest.raises(RecipeError, match="besides dense"):
        name_recipes([Recipe.of("dense")])
    with pytest.raises(RecipeError, match="two methods are called 'svg'"):
        name_recipes([Recipe.of("svg"), Recipe.of("svg", density=0.5)])
    with pytest.raises(RecipeError, match="'a red circle moves left' with seed 1 2 times"):
        make_plan(seeds=(1, 1))
    with pytest.raises(RecipeError, match="at least one prompt and seed"):
        dataclasses.replace(make_plan(), requests=())
    two_sizes = (Request("a", frames=8), Request("b", frames=16))
    with pytest.raises(RecipeError, match="must have the same frames, got 16, 8"):
        dataclasses.replace(make_plan(), requests=two_sizes)
    with pytest.raises(RecipeError, match="repeats must be at least 1"):
        make_plan(repeats=0)


def test_only_bundled_models_have_a_default_prompt():
    base = Request("")
    assert [request.prompt for request in cross_requests(base, [], [0], "shapes-s")] == [DEFAULT_PROMPT]
    assert len(cross_requests(base, ["a", "b"], [0, 1, 2], "owner/name")) == 6
    with pytest.raises(RecipeError, match="needs a prompt"):
        cross_requests(base, [], [0], "owner/name")


def test_the_default_prompt_is_in_the_models_words():
    from videosieve.shapes.world.captions import parse_caption

    assert len(parse_caption(DEFAULT_PROMPT).objects) == 2
