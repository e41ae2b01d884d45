"""The papers' tables: published figures agree with themselves, ours are measured or said to be missing."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import paper_tables
from benchmarks.paper_kernels import time_bands, untransformed
from benchmarks.paper_runs import Runs, make_recipe, spec_name
from benchmarks.paper_tables import main, our_figures, read_published, render, wanted_specs
from videosieve import VideoLayout
from videosieve.methods.geometry.band import band_patterns
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline

TABLES = read_published()
ROWS = [(table, row) for table in TABLES for row in table["row"]]


def test_all_the_tables_are_there_with_source_and_baseline():
    assert [table["id"] for table in TABLES] == [
        "svg-1",
        "svg-2",
        "svg-3",
        "svg-7",
        "svg-8",
        "xattention",
        "adaspa",
    ]
    for table in TABLES:
        assert "arXiv:" in table["source"]
        assert table["evidence"]
        assert table["hardware"]
        assert table["baseline"]
        assert table["protocol"]


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda x: x.get("id") or x["method"])
def test_a_row_says_how_ours_is_measured_or_why_not(table: dict, row: dict):
    assert len({"ours", "kernel", "not_measured"} & set(row)) == 1
    if "ours" in row:
        assert make_recipe(row["ours"])
    for key, (low, high) in {
        "psnr": (5, 60), "ssim": (0, 1), "lpips": (0, 1), "density": (0, 1), "speedup": (1, 20), "pflops": (1, 1000),
    }.items():  # fmt: skip
        assert low <= row.get(key, low) <= high
    dense = [other for other in table["row"] if other["method"] == "dense" and other["model"] == row["model"]]
    if dense and "seconds" in row and "seconds" in dense[0]:
        assert dense[0]["seconds"] / row["seconds"] == pytest.approx(row["speedup"], rel=0.01)


def test_the_factors_of_figure_7_make_the_whole_speed_up():
    table = next(table for table in TABLES if table["id"] == "svg-7")
    factors = [row["speedup"] for row in table["row"]]
    assert factors[0] * factors[1] * factors[2] == pytest.approx(2253 / 968, rel=0.01)


def test_equal_recipes_are_measured_once():
    names = [spec_name(spec) for spec in wanted_specs(TABLES)]
    assert len(names) == len(set(names))
    assert spec_name({"recipe": "svg", "b": 1, "a": 2}) == spec_name({"a": 2, "recipe": "svg", "b": 1})


def test_without_reordering_every_block_with_a_kept_pair_is_computed():
    layout, block = VideoLayout.of(4, 6, 6), 16
    _, temporal = band_patterns(layout, 0.3, block, False, torch.device("cpu"))
    pairs = temporal.rows(torch.arange(layout.tokens))[0, 0]
    mask = untransformed(temporal, block)
    for i, rows in enumerate(pairs.split(block)):
        for j, part in enumerate(rows.split(block, dim=1)):
            assert bool(mask.keep[0, 0, i, j]) == bool(part.any())
    assert mask.density > temporal.mask.density


def test_bands_are_timed_with_the_densities_that_ran():
    bands = time_bands([0.3, 0.6], repeats=1, layout=VideoLayout.of(4, 8, 8))
    assert [(band["density"], band["transformed"]) for band in bands] == [
        (0.3, True), (0.3, False), (0.6, True), (0.6, False),
    ]  # fmt: skip
    for band in bands:
        assert band["speedup"] == pytest.approx(band["dense_ms"] / band["ms"])
        assert 0 < band["executed"] <= 1


def video(**changes: float) -> dict:
    return {
        "psnr": 20.0, "ssim": 0.8, "lpips": None, "st_lpips": 0.1, "run_density": 0.4, "recall": 0.7, "seconds": 1.0,
        "dense_seconds": 2.0, "attention_seconds": 0.5, "dense_attention_seconds": 1.5, "kernel": "sdpa",
    } | changes  # fmt: skip


def test_rows_are_means_of_fidelity_and_medians_of_time(tmp_path: Path):
    runs = Runs(tmp_path / "runs.json", {})
    spec = {"recipe": "svg"}
    for scene, changes in (
        ("a", {}),
        ("b", {"psnr": 30.0, "seconds": 4.0}),
        ("c", {"psnr": 31.0, "seconds": 0.5}),
    ):
        runs.add(spec, scene, video(**changes))
    found = Runs(tmp_path / "runs.json", {}).summary(spec, ["a", "b", "c", "d"])
    assert found is not None
    assert found["psnr"] == pytest.approx(27.0)
    assert found["lpips"] is None
    assert (found["seconds"], found["speedup"], found["attention_speedup"], found["videos"]) == (
        1.0,
        2.0,
        3.0,
        3,
    )
    assert runs.summary({"recipe": "adaspa"}, ["a"]) is None
    assert runs.missing("d", [spec]) == [spec]
    assert runs.missing("a", [spec]) == []
    with pytest.raises(SystemExit, match="was made with"):
        Runs(tmp_path / "runs.json", {"steps": 3})


def test_what_was_not_measured_says_so_and_a_stand_in_is_never_shown(tmp_path: Path):
    runs = Runs(tmp_path / "runs.json", {"model": "shapes-s"})
    for table in TABLES:
        for row in table["row"]:
            assert str(our_figures(row, runs, ["a"], [])).startswith("not measured")
        text = render(table, runs, ["a"], [])
        assert text.count("not measured") >= len(table["row"])
        assert table["baseline"] in text
        assert table["source"] in text
    runs.add({"recipe": "pab"}, "a", video(psnr=22.22))
    text = render(TABLES[0], runs, ["a"], [])
    assert "| 22.22 | 0.800 | 0.1000 | 0.400 |" in text
    assert "ours: LPIPS" not in text


@pytest.fixture
def nano(tmp_path: Path) -> str:
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(tmp_path / "nano")
    return str(tmp_path / "nano")


def test_the_command_measures_once_and_prints_both_sides(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    arguments = [
        "--model",
        nano,
        "--tables",
        "xattention,svg-7",
        "--prompts",
        "1",
        "--steps",
        "2",
        "--frames",
        "8",
    ]
    arguments += ["--output", str(tmp_path / "results")]
    main(arguments)
    printed = capsys.readouterr().out
    assert "XAttention, threshold 0.95" in printed
    assert "| 23.50 | 0.822 | 0.155 | 0.455 |" in printed
    assert "not measured: FP8 attention needs a CUDA device" in printed
    assert "Our dense kernel:" in printed
    path = tmp_path / "results" / "paper_tables_nano.json"
    videos = json.loads(path.read_text())["videos"]
    assert len(videos) == 4  # dense, svg, two thresholds
    monkeypatch.setattr(paper_tables, "load_pipeline", lambda *_: pytest.fail("nothing is left to make"))
    main(arguments)
    assert capsys.readouterr().out == printed
    main([*arguments, "--prompts", "2", "--print"])
    assert json.loads(path.read_text())["videos"] == videos


def test_mistakes_are_named(tmp_path: Path):
    with pytest.raises(SystemExit, match="no table svg-9; there are svg-1"):
        main(["--tables", "svg-9"])
    with pytest.raises(SystemExit, match="needs --prompt-file"):
        main(["--model", str(tmp_path / "hunyuan"), "--output", str(tmp_path), "--print"])
