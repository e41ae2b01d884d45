"""The saliency example runs as it is written, on an untrained model."""

import runpy
from pathlib import Path
from typing import Any

import pytest

import videosieve.shapes
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline

EXAMPLE = Path(__file__).parents[2] / "examples" / "saliency_of_concepts.py"


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def untrained(name: str) -> Any:
        assert name == "shapes-s"
        pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    monkeypatch.setattr(videosieve.shapes, "load_shapes", untrained)
    runpy.run_path(str(EXAMPLE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "maps of (2, 16, 4, 4): concepts, frames, height, width"
    assert [line.partition(":")[0] for line in lines[1:3]] == ["red circle", "striped background"]
    assert lines[3] == "overlay of 16 frames"
