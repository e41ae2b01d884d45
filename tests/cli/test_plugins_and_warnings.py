"""`--plugin` anywhere on the line, and the closing lines of every verb where nothing was sparse."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videosieve import plugins
from videosieve.cli import app
from videosieve.cli.app import split_plugins
from videosieve.methods import METHODS
from videosieve.report import Results
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline

PROMPT = "a red circle moves left"
EXAMPLE = Path(__file__).parents[2] / "examples" / "add_a_method.py"
SHORT = ("--steps", "2", "--device", "cpu")
DENSE = ("--set", "min_tokens=100000")
SAID = "warning: nothing was sparse: fewer than 100000 tokens"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_done", set())
    monkeypatch.setenv(plugins.FILES, "")
    before = dict(METHODS)
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    yield lambda *words: runner.invoke(app, [str(word) for word in words])
    METHODS.clear()
    METHODS.update(before)


def test_plugins_stand_anywhere():
    words = ["--plugin", "a.py", "generate", "--plugin=b.py", "prompt", "--steps", "2"]
    assert split_plugins(words) == (["a.py", "b.py"], ["generate", "prompt", "--steps", "2"])


def test_a_method_of_your_own_goes_through_compare(run: Callable[..., Any], model: str, tmp_path: Path):
    options = ("--set", "min_tokens=0", "--set", "dense_steps=1", "--no-floor", "--output", "mine")
    result = run(
        "compare", "--plugin", EXAMPLE, "--model", model, "--prompt", PROMPT, *SHORT, "--methods", "long_keys",
        *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = Results.load(tmp_path / "mine")
    assert [clip.method for clip in results.clips] == ["dense", "long_keys"]
    assert results.clips[1].sparse_density is not None
    assert results.clips[1].sparse_density < 1
    assert run("methods").stdout.count("long_keys") == 1


def test_a_plugin_that_does_not_work_is_one_line(run: Callable[..., Any]):
    result = run("methods", "--plugin", "nowhere.py")
    assert result.exit_code == 2
    assert (
        result.stderr.strip()
        == "PluginError: the plug-in 'nowhere.py' is no file; give the path of a Python file"
    )


def test_generate_says_last_that_nothing_was_sparse(run: Callable[..., Any], model: str):
    result = run("generate", PROMPT, "--model", model, *SHORT, *DENSE, "-o", "v.gif")
    assert result.exit_code == 0, result.output
    assert SAID in result.stdout
    assert (
        SAID
        not in run("generate", PROMPT, "--model", model, *SHORT, "--method", "dense", "-o", "w.gif").stdout
    )


def test_compare_says_so_at_its_end_and_on_its_page(run: Callable[..., Any], model: str, tmp_path: Path):
    words = (
        "compare",
        "--model",
        model,
        "--prompt",
        PROMPT,
        *SHORT,
        *DENSE,
        "--methods",
        "svg",
        "--no-floor",
    )
    result = run(*words, "--output", "out")
    assert result.exit_code == 0, result.output
    assert SAID.replace("warning: ", "warning: svg: ") in result.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<p class="warning"><b>svg</b>: nothing was sparse: fewer than 100000 tokens.</p>' in page
    assert Results.load(tmp_path / "out").warnings == {"svg": "nothing was sparse: fewer than 100000 tokens"}


def test_batch_says_so_once(run: Callable[..., Any], model: str, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\na blue square moves up\n")
    words = ("--model", model, "--steps", "1", "--devices", "cpu", "--format", "gif", *DENSE)
    result = run("batch", "prompts.txt", *words, "--output", "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(SAID) == 1
