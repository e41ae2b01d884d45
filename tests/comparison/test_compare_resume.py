"""An interrupted comparison goes on: nothing finished is made again, nothing foreign is mixed in."""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.comparison import compare as module
from videosieve.comparison import ledger as compare_ledger
from videosieve.comparison import noise_floor as floor
from videosieve.comparison.compare import Stage, compare
from videosieve.comparison.ledger import LEDGER, is_interrupted
from videosieve.comparison.plan import Plan, cross_requests, name_recipes
from videosieve.errors import OutputError
from videosieve.generation.generate import Clip, generate
from videosieve.generation.recipe_settings import make_recipes
from videosieve.generation.request import Request
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.report import Results
from videosieve.report.results import COMPLETE, INTERRUPTED
from videosieve.trace import Trace

RECORD = Record(0, 0, "cond", "dense", "", "sdpa", 100, 1.0)


def make_plan(methods: str = "svg,radial", seeds: tuple[int, ...] = (0,), repeats: int = 1) -> Plan:
    requests = cross_requests(Request("", steps=2), ["a red circle moves left"], seeds, "shapes-nano")
    recipes = name_recipes(make_recipes(methods, None, ("min_tokens=0", "dense_steps=1")))
    return Plan(requests, recipes, repeats, 8.0, "shapes-nano", False)


def stop_at(count: int) -> Callable[[Stage], None]:
    """Ctrl-C at the stage of this number, from 0."""
    seen = iter(range(1000))

    def observe(_: Stage) -> None:
        if next(seen) == count:
            raise KeyboardInterrupt

    return observe


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Generation and media replaced by something quick; remembers (recipe, seed) of every timed run."""
    runs: list[tuple[str, int]] = []

    def fake(pipe: Any, request: Request, recipe: Recipe, *, progress: object = "rehearsal") -> Clip:
        number = runs.count((recipe.name, request.seed))
        if progress != "rehearsal":
            runs.append((recipe.name, request.seed))
        seed = sum(map(ord, recipe.name)) + request.seed
        frames = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        took = [3.0, 1.0, 2.0][number % 3] + request.seed  # the median of three is the last
        record = dataclasses.replace(RECORD, milliseconds=took)
        return Clip(frames, took, took / 2, 2, Trace([record]), latent=1 - frames.flatten())

    def touch(_: object, path: Path, *__: object) -> None:
        path.touch()

    monkeypatch.setattr(module, "generate", fake)
    monkeypatch.setattr(module, "rehearse", lambda *three_and_progress: fake(*three_and_progress[:3]))
    monkeypatch.setattr(module, "write_video", touch)
    monkeypatch.setattr(module, "write_poster", touch)
    monkeypatch.setattr(module, "write_report", lambda _: None)
    return runs


def test_nothing_is_made_twice_with_a_real_model(nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    finished: list[str] = []

    def count(pipe: Any, request: Request, recipe: Recipe, **options: Any) -> Clip:
        clip = generate(pipe, request, recipe, **options)
        finished.append(recipe.name)
        return clip

    def stop(stage: Stage) -> None:
        if stage.method == "radial" and stage.timed and stage.progress:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "generate", count)
    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt, match="2 of 3 videos are finished .*; the same command goes on"):
        compare(nano, make_plan(), folder, stop)
    before = {name: (folder / name).stat().st_mtime_ns for name in ("dense.mp4", "svg.mp4")}
    results = compare(nano, make_plan(), folder)
    assert finished == ["dense", "svg", "radial"]
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert results.status == COMPLETE
    assert len(results.resumed) == 1
    assert Results.load(folder) == results
    assert "Interrupted, and resumed" in (folder / "report.html").read_text()
    named = {name for clip in results.clips for name in clip.files.values()}
    assert {entry.name for entry in folder.iterdir()} == {*named, "results.json", "report.html"}
    whole = compare(nano, make_plan(), tmp_path / "whole")
    for left, right in zip(results.clips, whole.clips, strict=True):  # the baseline was kept bit by bit
        assert (left.method, left.psnr_frames, left.ssim, left.scores) == (
            right.method, right.psnr_frames, right.ssim, right.scores,
        )  # fmt: skip
    assert not whole.resumed
    assert "Interrupted" not in (tmp_path / "whole" / "report.html").read_text()


def without_dates(results: Results) -> Results:
    return dataclasses.replace(results, created="", resumed=[])


@pytest.mark.parametrize("repeats", [1, 3])
def test_interrupted_anywhere_it_comes_to_the_same(
    nano: Any, tmp_path: Path, made: list[tuple[str, int]], repeats: int
):
    plan, stages = make_plan(seeds=(0, 1), repeats=repeats), []
    whole = compare(nano, plan, tmp_path / "whole", stages.append)
    traces = {path.name: path.read_text() for path in (tmp_path / "whole").glob("*.trace.jsonl")}
    assert len(traces) == 6
    for count in range(len(stages)):
        made.clear()
        folder = tmp_path / str(count)
        with pytest.raises(KeyboardInterrupt):
            compare(nano, plan, folder, stop_at(count))
        if count < len(stages) - 1:  # and again in the first warm-up
            with pytest.raises(KeyboardInterrupt):
                compare(nano, plan, folder, stop_at(0))
        results = compare(nano, plan, folder)
        assert without_dates(results) == without_dates(whole)
        assert set(Counter(made).values()) == {repeats}
        assert {path.name: path.read_text() for path in folder.glob("*.jsonl")} == traces
        assert not list(folder.glob("*.safetensors"))


def test_results_are_whole_while_it_warms_up_again(nano: Any, tmp_path: Path, made: list[tuple[str, int]]):
    plan = make_plan(seeds=(0, 1), repeats=3)
    with pytest.raises(KeyboardInterrupt, match="4 of 6 videos"):
        compare(nano, plan, tmp_path, stop_at(3 + 9 + 3 + 1))
    with pytest.raises(KeyboardInterrupt, match="4 of 6 videos"):
        compare(nano, plan, tmp_path, stop_at(0))
    results = Results.load(tmp_path)
    assert results.status == INTERRUPTED
    assert len(results.clips) == 4
    for clip in results.clips:
        assert all((tmp_path / name).is_file() for name in clip.files.values())


def test_a_torn_line_costs_its_own_run_at_most(nano: Any, tmp_path: Path, made: list[tuple[str, int]]):
    plan, folder, twin = make_plan(seeds=(0, 1)), tmp_path / "a", tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        compare(nano, plan, folder, stop_at(3 + 5))  # at the third result
    assert made == [("dense", 0), ("svg", 0), ("radial", 0)]
    shutil.copytree(folder, twin)
    content = (folder / LEDGER).read_bytes()
    (folder / LEDGER).write_bytes(content + b'{"kind": "take", "sce')
    compare(nano, plan, folder)
    assert made[3:] == [("dense", 1), ("radial", 1), ("svg", 1)]
    made.clear()
    (twin / LEDGER).write_bytes(content[:-20])  # the line of the last run itself
    results = compare(nano, plan, twin)
    assert made == [("radial", 0), ("dense", 1), ("radial", 1), ("svg", 1)]
    assert len(results.clips) == 6


def test_videos_that_are_gone_are_made_again_alone(nano: Any, tmp_path: Path, made: list[tuple[str, int]]):
    plan = make_plan(seeds=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        compare(nano, plan, tmp_path, stop_at(3 + 8))
    assert [seed for _, seed in made] == [0, 0, 0, 1]
    (tmp_path / "00-svg.mp4").unlink()
    (tmp_path / "baseline-1.safetensors").unlink()  # what the other methods are measured against
    compare(nano, plan, tmp_path)
    assert made[4:] == [("dense", 0), ("svg", 0), ("dense", 1), ("radial", 1), ("svg", 1)]


@pytest.fixture
def interrupted(nano: Any, tmp_path: Path, made: list[tuple[str, int]]) -> Path:
    with pytest.raises(KeyboardInterrupt):
        compare(nano, make_plan(), tmp_path, stop_at(5))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "results.json"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (make_plan("svg"), "recipes"),
        (make_plan(seeds=(1,)), "videos"),
        (make_plan(repeats=2), "repeats: repeats was 1 and is 2"),
    ],
)
def test_other_settings_are_refused_before_a_model_is_loaded(
    nano: Any, interrupted: Path, plan: Plan, words: str
):
    before = contents(interrupted)
    wanted = rf"interrupted comparison with other settings \({words}.*go on with it, or delete the folder"
    with pytest.raises(OutputError, match=wanted):
        is_interrupted(interrupted, plan)
    with pytest.raises(OutputError, match=wanted):
        compare(nano, plan, interrupted)
    assert contents(interrupted) == before
    assert is_interrupted(interrupted, make_plan())


@pytest.mark.parametrize(
    ("where", "words"),
    [("describe_machine", "machine: machine was"), ("describe_versions", "versions: versions was")],
)
def test_times_of_another_machine_or_version_are_not_mixed_in(
    nano: Any, interrupted: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
):
    monkeypatch.setattr(compare_ledger, where, lambda *_: {"processor": "another"})
    with pytest.raises(OutputError, match=words):
        compare(nano, make_plan(), interrupted)


def test_another_dense_kernel_is_refused(nano: Any, interrupted: Path, monkeypatch: pytest.MonkeyPatch):
    def fake(*_: object) -> Clip:
        return Clip(
            torch.zeros(1, 3, 16, 16), 1.0, 1.0, 2, Trace([dataclasses.replace(RECORD, kernel="new")])
        )

    monkeypatch.setattr(module, "rehearse", fake)
    with pytest.raises(OutputError, match="was computed by sdpa, and now it would be by new; restore that"):
        compare(nano, make_plan(), interrupted)


def test_the_noise_floor_stays_the_one_that_was_found(
    nano: Any, tmp_path: Path, made: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
):
    plan = dataclasses.replace(make_plan("svg"), floor=True)
    monkeypatch.setattr(module, "choose_floor", lambda *_: floor.floor_recipe("reference"))
    with pytest.raises(KeyboardInterrupt):
        compare(nano, plan, tmp_path, stop_at(5))
    monkeypatch.setattr(module, "choose_floor", None)  # is not asked again
    results = compare(nano, plan, tmp_path)
    assert [clip.method for clip in results.clips] == ["dense", "dense (reference kernel)", "svg"]
    assert list(results.recipes) == ["dense", "dense (reference kernel)", "svg"]
    assert len(made) == 3


def test_two_processes_cannot_work_in_one_folder(nano: Any, tmp_path: Path, made: list[tuple[str, int]]):
    refused = []

    def second(stage: Stage) -> None:
        if stage.result:
            with pytest.raises(OutputError, match="another process works on"):
                compare(nano, make_plan(), tmp_path)
            refused.append(stage.method)

    results = compare(nano, make_plan(), tmp_path, second)
    assert len(refused) == len(results.clips) == 3


def test_a_finished_comparison_is_replaced_as_ever(nano: Any, tmp_path: Path, made: list[tuple[str, int]]):
    compare(nano, make_plan(), tmp_path)
    assert not is_interrupted(tmp_path, make_plan("svg"))
    results = compare(nano, make_plan("svg"), tmp_path)
    assert made[3:] == [("dense", 0), ("svg", 0)]
    assert not results.resumed
    assert not list(tmp_path.glob("radial*"))


def test_killed_after_the_last_run_it_only_tidies_up(
    nano: Any, tmp_path: Path, made: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "write_report", None)
    with pytest.raises(TypeError):
        compare(nano, make_plan(), tmp_path)
    assert len(made) == 3
    assert json.loads((tmp_path / LEDGER).read_text().splitlines()[-1])["kind"] == "take"
    monkeypatch.setattr(module, "write_report", lambda _: None)
    monkeypatch.setattr(module, "rehearse", None)
    assert compare(nano, make_plan(), tmp_path).status == COMPLETE
    assert len(made) == 3
    assert not (tmp_path / LEDGER).exists()
