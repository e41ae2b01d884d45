"""`videosieve tune`: refusals come before any work, a missed target is said and ends with exit code 1."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videosieve.cli.app import app
from videosieve.generation.request import Request
from videosieve.recipe import Recipe
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.tuning.search import Candidate, Goal
from videosieve.tuning.trials import Bench
from videosieve.tuning.tune import _Work

CAPTION = "a large red circle moves left over a striped background"
SHORT = ["--methods", "svg", "--steps", "2", "--prompt", CAPTION, "--guidance", "1"]


def make_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model, and a search that is over after one measurement."""

    def load(model: str, device: str = "auto", dtype: str | None = None) -> Any:
        del model, device, dtype
        pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    monkeypatch.setattr("videosieve.generation.load.load_pipeline", load)
    monkeypatch.setattr("videosieve.tuning.tune._Work._has_time", lambda *_: False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(monkeypatch)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["tune", *arguments])


@pytest.fixture(scope="module")
def missed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A command whose target nothing reaches, and its folder."""
    folder = tmp_path_factory.mktemp("missed") / "out"
    table = folder.with_name("tune.csv")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        return run("--speedup", "900", *SHORT, "--output", str(folder), "--table", str(table)), folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one target"),
        (["--psnr", "30", "--speedup", "1.3"], "got psnr, speedup"),
        (["--recall", "1.5"], "recall must be a number above 0 and up to 1, got recall=1.5"),
        (["--psnr", "30", "--methods", "svgg"], "did you mean 'svg'"),
        (["--psnr", "30", "--model", "Wan-AI/Wan2.1"], "give some with --prompt"),
        (["--psnr", "30", "--prompt", "a cat"], "cat"),
        (["--psnr", "30", "--prompt", ""], "empty"),
        (["--psnr", "30", "--minutes", "0"], "minutes must be finite and above 0"),
        (["--psnr", "30", "--start", "nothing"], "unknown method or recipe 'nothing'"),
        (["--psnr", "30", "--table", "tune.xlsx"], "must end in .csv, .md, .tex"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: list[str], words: str, tmp_path: Path):
    result = run(*arguments, "--output", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_a_missed_target_writes_no_recipe_and_exits_with_1(missed: tuple[Any, Path]):
    result, folder = missed
    assert result.exit_code == 1, result.stderr
    names, *rows = csv.reader(folder.with_name("tune.csv").read_text("utf-8").splitlines())
    assert names[:2] == ["recipe", "PSNR, dB"]
    points = json.loads((folder / "tune.json").read_text())["points"]
    assert [row[0] for row in rows[: len(points)]] == [point["name"] for point in points]
    assert float(rows[0][names.index("speed-up, ×")]) == pytest.approx(points[0]["speedup"])
    assert [row[-1] for row in rows].count("chosen") == 1
    assert rows[-1][-1] == "check"
    assert "<b>shapes-s</b>, seed 0" in (folder / "tune.html").read_text("utf-8")
    assert "target not reached: speed-up ≥ 900" in result.stderr
    assert "--best-effort" in result.stderr
    assert not (folder / "recipe.toml").exists()
    assert (folder / "tune.json").is_file()
    finished = (folder / "journal.jsonl").read_text()
    kinds = [json.loads(line)["kind"] for line in finished.splitlines()[1:]]
    assert kinds == [
        "look",
        "tables",
        "looked",
        "screen",
        "point",
        "turn",
        "turn",
        "turn",
        "recall",
    ]  # three videos of the check
    again = run("--speedup", "900", *SHORT, "--output", str(folder), "--best-effort")
    assert again.exit_code == 1
    assert (folder / "recipe.toml").is_file()
    assert (folder / "journal.jsonl").read_text() == finished  # nothing was done again


@pytest.mark.usefixtures("tiny")
def test_a_recipe_for_another_family_is_refused_before_the_search(tmp_path: Path):
    result = run("--psnr", "30", *SHORT, "--start", "svg-wan", "--output", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "is for Wan, and this model is a HunyuanVideo" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_a_recipe_that_was_never_sparse_is_said_at_the_end(
    missed: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the best recipe's clips said is what the command says last."""
    whole = _Work.run
    said = ("nothing was sparse: fewer than 100000 tokens",)
    monkeypatch.setattr(_Work, "run", lambda work, settings: replace(whole(work, settings), warnings=said))
    shutil.copytree(missed[1], tmp_path / "out")  # finished: nothing is done again
    result = run("--speedup", "900", *SHORT, "--output", str(tmp_path / "out"))
    assert f"warning: {said[0]}" in " ".join(result.output.split())


def test_a_measured_candidate_keeps_what_its_clips_said(nano: Any):
    request = Request(CAPTION, steps=2, guidance=1.0)
    bench = Bench(nano, [request], Goal(speedup=2.0), 2)
    candidate = Candidate("svg", 0.3)
    recipe = Recipe.of("svg", density=0.3, dense_steps=0, min_tokens=100_000)
    bench.measure(candidate, recipe, [0.0])
    assert bench.warnings[candidate] == ("nothing was sparse: fewer than 100000 tokens",)
