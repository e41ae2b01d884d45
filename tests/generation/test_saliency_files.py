"""Saliency from a request to files, and the verb on top of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.errors import ModelError
from videosieve.generation.request import Request
from videosieve.generation.saliency import find_saliency, parse_indices, write_saliency

PROMPT = "a red circle moves left"


@pytest.fixture(scope="module")
def model(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    nano.save_pretrained(folder)
    return str(folder)


def test_files_of_a_request(nano: Any, tmp_path: Path):
    request = Request(PROMPT, steps=2, frames=4, guidance=1.0)
    found = find_saliency(nano, request, ["left", "red circle"], SaliencyMethod())
    page = write_saliency(found, tmp_path / "s", "a <b> circle", fps=8.0)
    names = {file.name for file in page.parent.iterdir()}
    videos = {"video.mp4", "overlay.mp4", "concept-0.mp4", "concept-1.mp4"}
    assert names == videos | {"overlay.png", "saliency.safetensors", "saliency.html"}
    assert torch.equal(SaliencyMaps.load(page.parent / "saliency.safetensors").maps, found.maps)
    text = page.read_text()
    assert text.count("data:video/mp4;base64,") == 4
    assert "a &lt;b&gt; circle" in text
    assert "http" not in text


def test_the_verb_writes_a_page_and_says_who_wins(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    words = ["saliency", PROMPT, "--concept", "red circle", "--concept", "background", "--model", model]
    words += ["--steps", "2", "--frames", "4", "--device", "cpu", "--layers", "0,1", "--look-at", "1"]
    result = CliRunner().invoke(app, [*words, "-o", "out"])
    assert result.exit_code == 0, result.output
    shares = [float(line.split()[-4].rstrip("%")) for line in result.stdout.splitlines()[:2]]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert result.stdout.splitlines()[-1] == "open out/saliency.html"
    found = SaliencyMaps.load("out/saliency.safetensors")
    assert (found.layers, found.steps, found.concepts) == ((0, 1), (1,), ("red circle", "background"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "at least one concept"),
        (("--concept", "red", "--concept", "Kreis"), "unknown: 'kreis'"),
        (("--concept", "red", "--layers", "1-2"), "layers must be indices like 0,2,3; got '1-2'"),
        (("--concept", "red", "--method", "gram"), "must be 'concept' or 'cross_attention', got name='gram'"),
        (("--concept", "red", "--temperature", "0"), "temperature must be above 0"),
    ],
)
def test_bad_options_cost_no_generation(words: tuple[str, ...], message: str, tmp_path: Path, model: str):
    result = CliRunner().invoke(
        app, ["saliency", PROMPT, "--model", model, *words, "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_indices_are_read_or_refused():
    assert parse_indices("layers", None) is None
    assert parse_indices("layers", "3, 0") == (3, 0)
    for text in ("", "a", "-1", "1,,2"):
        with pytest.raises(ModelError, match="layers must be indices"):
            parse_indices("layers", text)
