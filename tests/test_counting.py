"""What has a number counts from 0: in options, traces, JSON, pages, pictures and messages alike."""

import re
from pathlib import Path

import pytest

from videosieve.cli.progress import position_in_words
from videosieve.generation.generate import Progress
from videosieve.generation.saliency import parse_indices
from videosieve.prefill.results import PrefillResults, PrefillRow
from videosieve.report.charts import Scale, Series, line_chart

ROOT = Path(__file__).parents[1]
KINDS = "layer|head|step|frame|row|column|token|prompt|scene"
# "frame {number + 1}" in Python, `frame ${i + 1}` in JavaScript, frame {{ loop.index }} in a template
MOVED = re.compile(rf"\b({KINDS}) \$?\{{(?:[^{{}}]*\+ 1|\{{ loop\.index \}})\}}")
FILES = sorted(
    path
    for folder in ("videosieve", "benchmarks", "examples", "comfyui", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".js", ".html", ".toml") and path.parent.name != "gallery"
)  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_number_is_moved_by_one_for_people(path: Path):
    assert [found[0] for found in MOVED.finditer(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("text", ["frame {frame + 1}", "`step ${index + 1}`", "row {{ loop.index }}"])
def test_moved_numbers_would_be_found(text: str):
    assert MOVED.search(text)


def test_axes_start_at_zero_and_end_at_the_last():
    chart = line_chart([Series("svg", [0.5] * 16, "red")], "frame", Scale(0.0, 1.0))
    assert (chart.x_ticks[0].label, chart.x_ticks[-1].label) == ("0", "15")


def test_what_is_typed_is_what_is_meant():
    assert parse_indices("look-at", "0,2-3") == (0, 2, 3)


def test_a_table_numbers_prompts_as_the_file_does():
    row = PrefillRow("dense", 1, 8, 1.0, 0.5, 1.0, None, None, 2.0, None, None, "")
    results = PrefillResults(
        "m", ["a", "b"], [PrefillRow("dense", 0, 8, 1.0, 0.5, 1.0, None, None, 2.0, None, None, ""), row]
    )
    names, rows = results.table()
    assert [cells[names.index("prompt")] for cells in rows] == [0, 1]


def test_a_bar_says_how_many_are_done():
    assert position_in_words(Progress(4, 20, 0.5, 61.0)).startswith("4/20 steps")
