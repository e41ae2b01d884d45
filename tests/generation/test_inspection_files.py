"""An inspection from a request to files, and the verb on top of it."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.errors import ShapeError
from videosieve.generation.inspection import find_attention, write_inspection
from videosieve.generation.request import Request


@pytest.fixture(scope="module")
def model(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    nano.save_pretrained(folder)
    return str(folder)


def test_the_verb_writes_a_page_and_pictures(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["inspect", "a red circle moves left", "--model", model, "--method", "svg", "--density", "0.5"]
    words += [
        "--set",
        "min_tokens=0",
        "--set",
        "dense_layers=0",
        "--set",
        "dense_steps=0",
        "--set",
        "block=16",
    ]
    words += [
        "--steps",
        "2",
        "--frames",
        "4",
        "--device",
        "cpu",
        "--layers",
        "1",
        "--heads",
        "0,1",
        "--look-at",
        "1",
    ]
    result = CliRunner().invoke(app, [*words, "-o", "out"])
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "inspection.html", "heads-step01.png", "layer01-head00-step01.png", "layer01-head01-step01.png",
    }  # fmt: skip
    lines = result.stdout.splitlines()
    assert lines[0].startswith("layer 1 head 0 step 1: density 0.")
    assert "recall 0." in lines[0]
    assert lines[-1] == "exact; open out/inspection.html"


def test_a_dense_inspection_of_a_request(nano: Any, tmp_path: Path):
    request = Request("a red circle moves left", steps=1, frames=2, guidance=1.0)
    found = find_attention(nano, request, layers=(0,), heads=(1,))
    page = write_inspection(found, tmp_path / "new" / "folder")
    assert "the pipeline&#39;s own attention" in page.read_text()
    with pytest.raises(ShapeError, match="positive multiples of 4"):
        find_attention(nano, Request("a red circle", steps=1, height=30))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--density", "0.3"), "parameters of a method; give one with --method"),
        (("--heads", "2-1"), "ranges like 15-18; got '2-1'"),
        (("--method", "svgg"), "svgg"),
        (("--look-at", "x"), "look-at must be indices"),
    ],
)
def test_bad_options_cost_no_generation(words: tuple[str, ...], message: str, tmp_path: Path, model: str):
    result = CliRunner().invoke(
        app, ["inspect", "a red circle", "--model", model, *words, "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
