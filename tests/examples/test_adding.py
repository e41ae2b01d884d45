"""The examples of a method and a model of one's own run as they are written."""

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from videosieve.integrations.diffusers import MODELS
from videosieve.methods import METHODS

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    methods, models = dict(METHODS), dict(MODELS)
    yield
    for table, before in ((METHODS, methods), (MODELS, models)):
        table.clear()
        table.update(before)  # type: ignore[arg-type]


def test_a_method(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    runpy.run_path(str(EXAMPLES / "add_a_method.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("output [1, 4, 8256, 64], density 0.2")


def test_a_model(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(EXAMPLES / "add_a_model.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 attention calls, 6 sparse"
    assert lines[1] == "steps 0–3, dense 0, sparse 1–3"
