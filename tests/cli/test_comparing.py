"""What compare takes and what it prints: prompt files, tables that fit 80 columns, honest words about few videos."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from videosieve.cli import comparing, console
from videosieve.cli.comparing import gather_requests, print_results
from videosieve.cli.console import command_line, scaled
from videosieve.comparison.plan import Plan, name_recipes
from videosieve.comparison.quality import Quality
from videosieve.comparison.takes import Takes, first_take
from videosieve.errors import ModelError, PromptError, RecipeError
from videosieve.generation.generate import Clip
from videosieve.generation.request import Request
from videosieve.metrics import Psnr
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.report import Results
from videosieve.trace import Trace

BASE = Request("", negative_prompt="noise", steps=4)
NAMES = {"dense": "baseline", "dense (block-sparse kernel)": "floor", "semantic_permutation": "method"}


def line(name: str, seed: int, accuracy: dict[str, float] | None) -> Any:
    """Dense takes 10 s, half of them attention; the method takes 6 s plus its seed, at density 0.4."""
    kind = NAMES[name]
    seconds, density = (6.0 + seed, 0.4) if kind == "method" else (10.0, 1.0)
    record = Record(
        0,
        0,
        "cond",
        "sparse" if density < 1 else "dense",
        "",
        "sdpa",
        100,
        density,
        [0.75] * (density < 1),
        [],
        5000.0,
    )
    psnr = None if kind == "baseline" else Psnr((30.0 + seed,), 30.0 + seed, 30.0, 30.0)
    quality = Quality(psnr, psnr and [0.875], {}, accuracy)
    clip = Clip(torch.zeros(1, 3, 2, 2), seconds, seconds, 4, Trace([record]))
    return Takes([first_take(name, kind, Request("a", seed=seed), clip, quality, {})]).result(10.0)


def made_up(scenes: int, accuracy: dict[str, float] | None = None) -> Results:
    clips = [line(name, seed, accuracy) for seed in range(scenes) for name in NAMES]
    return Results(
        "shapes-s", "ShapesPipeline", {}, {}, {}, dict.fromkeys(NAMES, ""), "", "sdpa", clips=clips,
        unavailable={"st_lpips": "stlpips-pytorch is not installed"},
    )  # fmt: skip


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    terminal = Console(file=text, width=80, highlight=False)
    monkeypatch.setattr(comparing, "out", terminal)
    monkeypatch.setattr(console, "out", terminal)
    return text


def rows(text: str, name: str) -> list[list[str]]:
    """The cells of every line that starts with a name."""
    return [line.removeprefix(name).split() for line in text.splitlines() if line.startswith(name + " ")]


def test_tables_of_one_video_have_no_intervals_and_say_that_it_is_one(printed: io.StringIO):
    print_results(made_up(1))
    text = printed.getvalue()
    # 10 s ÷ 6 s; Amdahl's bound is 1 / (1 − 0.5 · 0.6)
    assert rows(text, "semantic_permutation") == [
        ["6.00", "1.67×", "1.43×", "117%"],
        ["0.40", "0.75", "30.0", "0.875"],
    ]
    floor = rows(text, "dense (block-sparse kernel)")
    assert floor == [["10.00", "1.00×", "1.00×", "100%"], ["1.00", "–", "30.0", "0.875"]]
    assert "dense: 10.00 s with kernel sdpa, 50% of it attention;" in text
    assert "attention for free would make it 2.00× as fast" in text
    assert "one video a method: small differences mean nothing" in text
    assert "no st_lpips: stlpips-pytorch is not installed" in text
    assert "95 %" not in text
    assert "right" not in text


def test_five_videos_have_intervals_and_everything_fits_80_columns(printed: io.StringIO):
    print_results(made_up(5, {"colour": 1.0, "all": 1.0}))
    text = printed.getvalue()
    assert "1.00–1.67" in text
    assert "30.0–34.0" in text
    assert "100%" in text
    assert max(map(len, text.splitlines())) <= 80
    assert (
        len([row for row in text.splitlines() if row.startswith("semantic_permutation ")]) == 2
    )  # none is broken


def test_two_videos_are_too_few_for_an_interval(printed: io.StringIO):
    print_results(made_up(2))
    assert "medians over 2 prompts and seeds; 95 % intervals take 5 or more" in printed.getvalue()


def test_prompts_come_from_the_line_and_from_a_file(tmp_path: Path):
    path = tmp_path / "p.csv"
    path.write_text("prompt,seed,negative_prompt\na,3,\nb,,haze\n", encoding="utf-8")
    found = gather_requests(BASE, ["c"], path, (0, 1), "owner/name")
    assert [(request.prompt, request.seed, request.negative_prompt) for request in found] == [
        ("c", 0, "noise"), ("c", 1, "noise"), ("a", 3, "noise"), ("b", 0, "haze"), ("b", 1, "haze"),
    ]  # fmt: skip
    assert {request.steps for request in found} == {4}
    assert len(gather_requests(BASE, [], path, (0,), "shapes-s")) == 2  # no default prompt on top


def test_prompt_files_that_cannot_be_compared_are_refused(tmp_path: Path):
    path = tmp_path / "p.csv"
    for text, message in (
        ("prompt\n", "holds no prompt"),
        ("prompt\na\na\n", "same video twice"),
        ("prompt,sed\na,1\n", "unknown columns sed"),
        ("prompt,seed\na,-1\n", "whole number >= 0"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(PromptError, match=message):
            gather_requests(BASE, [], path, (0,), "owner/name")
    path.write_text("prompt,image\na,missing.png\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"'missing\.png' does not exist"):
        gather_requests(BASE, [], path, (0,), "owner/name")
    path.write_text("prompt\na\n", encoding="utf-8")
    twice = gather_requests(BASE, ["a"], path, (0,), "owner/name")
    with pytest.raises(RecipeError, match="'a' with seed 0 2 times"):
        Plan(twice, name_recipes([Recipe.of("svg")]))


def test_the_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch):
    words = ["compare", "--prompt", "a red circle", "--density", "0.3"]
    for name in ("/opt/bin/videosieve", "/lib/videosieve/__main__.py"):
        monkeypatch.setattr(sys, "argv", [name, *words])
        assert command_line() == "videosieve compare --prompt 'a red circle' --density 0.3"
    monkeypatch.setattr(sys, "argv", ["pytest", "tests"])
    assert command_line() == ""


def test_large_quantities_get_the_prefix_that_fits():
    assert scaled(10.4503e15, "FLOPs") == "10.45 PFLOPs"
    assert scaled(208.6e9, "FLOPs") == "208.6 GFLOPs"
    assert scaled(3e6, "FLOPs") == "3 MFLOPs"
    assert scaled(13.29 * 2**20, "B", 1024) == "13.29 MiB"
    assert scaled(2.725 * 2**30, "B", 1024) == "2.725 GiB"
