"""Options by keyword have types: a user's script is checked by pyright, and by mypy where it is installed."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import diffusers
import pytest

from videosieve import METHODS
from videosieve.integrations.diffusers import inspect_attention, saliency, sparsify
from videosieve.integrations.diffusers.models import MODELS
from videosieve.integrations.diffusers.options import (
    InspectionOptions,
    Overrides,
    PipelineCall,
    SaliencyOptions,
    SparsifyOptions,
)
from videosieve.schedule.keys import SCHEDULE_KEYS
from videosieve.tuning.options import SearchOptions, TuneOptions
from videosieve.tuning.order import Order, make_order
from videosieve.tuning.tune import tune

HERE = Path(__file__).parent


def keywords(function) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


def test_every_option_that_is_taken_has_a_type_and_no_other():
    fields = {
        item.name
        for cls in METHODS.values()
        if dataclasses.is_dataclass(cls)
        for item in dataclasses.fields(cls)
    }
    own = {"min_tokens", "shared_selection", "compensate", "token_order", "prefer", "family"}
    overrides = set(Overrides.__annotations__)
    assert overrides == fields | set(SCHEDULE_KEYS) | own
    assert set(SparsifyOptions.__annotations__) == overrides | keywords(sparsify)
    call = set(PipelineCall.__annotations__)
    assert set(SaliencyOptions.__annotations__) == call | keywords(saliency)
    assert set(InspectionOptions.__annotations__) == call | keywords(inspect_attention)
    search = set(SearchOptions.__annotations__)
    taken = keywords(make_order) | {item.name for item in dataclasses.fields(Order)} - {
        "goal",
        "search",
        "check",
    }
    assert search == taken | {"best_effort", "observe"}
    assert set(TuneOptions.__annotations__) == search | keywords(tune)


def test_calls_of_pipelines_have_types_for_what_the_pipelines_take():
    taken = set()
    for row in MODELS.values():
        for name in re.findall(r"\w+Pipeline\b", "" if row.dense else row.pipelines):
            if hasattr(diffusers, name):
                taken |= set(inspect.signature(getattr(diffusers, name).__call__).parameters)
    assert taken - {"self", "prompt", "return_dict", "args", "kwargs"} <= set(PipelineCall.__annotations__)


def complained(lines: list[int]) -> None:
    """Assert that exactly the lines that say so are wrong."""
    text = (HERE / "wrong.py").read_text().splitlines()
    assert sorted(set(lines)) == [number for number, line in enumerate(text, 1) if line.endswith("# wrong")]


@pytest.mark.slow
def test_pyright_finds_misspelt_options():
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    files = [str(HERE / "right.py"), str(HERE / "wrong.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=HERE.parents[1])
    found = [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    assert [one for one in found if one["file"].endswith("right.py")] == []
    complained([one["range"]["start"]["line"] + 1 for one in found])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_finds_misspelt_options():
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        "--no-error-summary",
    ]
    files = [str(HERE / "right.py"), str(HERE / "wrong.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=HERE.parents[1])
    found = re.findall(r"(right|wrong)\.py:(\d+): error", done.stdout)
    assert [line for name, line in found if name == "right"] == []
    complained([int(line) for _, line in found])
