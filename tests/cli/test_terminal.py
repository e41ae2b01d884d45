"""What a person sees while a verb runs and in its help: words, no types; what runs, and how long it takes."""

import io
import logging
import os
import re
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from videosieve.cli import app, console, progress, signals
from videosieve.cli.comparison_screen import ComparisonScreen
from videosieve.cli.long_runs import announce, tell_length
from videosieve.cli.progress import GenerationBar, clock_words, position_in_words
from videosieve.cli.quiet import leave_unsaid
from videosieve.generation.generate import Progress
from videosieve.generation.request import Request
from videosieve.planning.doctor import Finding, verdict
from videosieve.recipe import Recipe

VERBS = [
    "generate",
    "compare",
    "sweep",
    "tune",
    "batch",
    "prefill",
    "saliency",
    "doctor",
    "methods",
    "models",
    "plan",
    "profile",
    "saliency-score",
    "inspect",
    "report",
    "explain",
    "bench",
]


@pytest.mark.parametrize("verb", ["", *VERBS, "shapes train"])
def test_help_has_no_types_of_python_in_it(verb: str):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [*verb.split(), "--help"])
    assert result.exit_code == 0
    assert re.findall(r"<(?:bool|str|int|float|path|list)\b", result.stdout) == []
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert re.findall(r"\S*\w…", result.stdout) == []  # a word that was cut off


@pytest.mark.parametrize(
    "words", ["methods", "methods svg", "methods sieve", "models hunyuanvideo", "models"]
)
def test_what_is_said_of_one_name_fits_80_columns(words: str):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, words.split())
    assert result.exit_code == 0
    said = result.stdout  # a list itself has a line each, shortened in a terminal alone
    said = said[said.index("every method") if words == "methods" else 0 :]
    said = said[said.index("videosieve saliency shows") if words == "models" else 0 :]
    assert [line for line in said.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("words", [("methods", "svgg"), ("models", "wann")])
def test_an_unknown_name_is_one_line_with_a_near_one(words: tuple[str, str]):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


@pytest.mark.parametrize("width", [80, 120])
def test_a_list_in_a_terminal_is_a_line_each(monkeypatch: pytest.MonkeyPatch, width: int):
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, width=width, force_terminal=True, no_color=True))
    console.listed([("short", "Yes."), ("longer_name", "word " * 60)])
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == "short        Yes."
    assert lines[1].endswith("…")
    assert max(map(len, lines)) <= width
    console.paragraph("shared_selection=false " * 20, "  ")
    assert "shared_selection=fal\n" not in screen.getvalue()
    assert max(map(len, screen.getvalue().splitlines())) <= width


def test_positions_say_what_runs():
    assert position_in_words(Progress(0, 0, 1.0, None)) == "the first step"
    assert position_in_words(Progress(0, 20, 1.0, None)) == "0/20 steps"
    assert position_in_words(Progress(4, 20, 0.5, 61.0)) == "4/20 steps, density 0.50, 1:01 left"
    assert position_in_words(Progress(20, 20, 0.44, 0.0)) == "20 steps done, decoding"
    assert position_in_words(Progress(4, 20, 0.5, 61.0), 3725.0).endswith("1:01 left; 1:02:05 in all")
    assert clock_words(-1) == "0:00"


def test_without_a_terminal_there_is_a_line_every_so_often(monkeypatch: pytest.MonkeyPatch):
    now, said = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "note", said.append)
    with GenerationBar() as bar:
        bar.begin("svg", "loading shapes-s")
        assert said == []
        for step in range(4):
            now[0] += progress.EVERY / 2
            bar.advance(Progress(step, 4, 1.0, 10.0))
    assert said == ["svg: 1/4 steps, density 1.00, 0:10 left", "svg: 3/4 steps, density 1.00, 0:10 left"]
    quiet = GenerationBar(shown=False)
    now[0] += 1000
    quiet.begin("svg", "another rank")
    assert len(said) == 2


def test_a_comparison_tells_the_time_left_of_all_runs(monkeypatch: pytest.MonkeyPatch):
    now, seen = [0.0], []
    monkeypatch.setattr("videosieve.cli.comparison_screen.time.monotonic", lambda: now[0])
    bar: Any = SimpleNamespace(
        begin=lambda name, note: seen.append((name, note)),
        advance=lambda position, whole=None, stage="": seen.append(whole),
    )
    screen = ComparisonScreen(bar)

    def stage(video: int, left: float | None = None, timed: bool = True) -> Any:
        position = None if left is None else Progress(1, 2, 1.0, left)
        return SimpleNamespace(
            method="svg", video=video, videos=4, timed=timed, progress=position, result=None
        )

    screen.show(stage(0, timed=False))
    assert seen.pop() == ("svg (warm-up 1)", "two steps that are thrown away")
    screen.show(stage(0))
    assert seen.pop() == ("svg (1 of 4)", "reading the prompt")
    now[0] = 5.0
    screen.show(stage(0, 5.0))
    assert seen.pop() == 5.0 + 3 * 10.0  # nothing is behind us: this run's own 5 + 5 s stand for the others
    now[0] = 12.0
    screen.show(stage(1))
    seen.pop()
    screen.show(stage(1, 2.0))
    assert seen.pop() == 2.0 + 2 * 12.0
    screen.show(stage(3))
    seen.pop()
    screen.show(stage(3, 2.0))
    assert seen.pop() is None  # the last one: its own time is all


def test_a_long_generation_is_announced_once(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr("videosieve.cli.long_runs.note", said.append)
    listen = tell_length(lambda position: None)
    for step, left in ((0, None), (1, 600.0), (2, 570.0)):
        listen(Progress(step, 21, 1.0, left))
    assert said == ["about 10:00 left for 20 more steps; Ctrl-C leaves nothing behind"]
    tell_length(lambda position: None)(Progress(1, 21, 1.0, 30.0))
    assert len(said) == 1


def test_size_tokens_and_work_are_said_before_a_long_generation(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr("videosieve.cli.long_runs.note", said.append)

    class Pipeline:
        """Has its usual sizes where the pipelines of diffusers have them."""

        def __call__(
            self,
            prompt: str,
            height: int = 720,
            width: int = 1280,
            num_frames: int = 129,
            num_inference_steps: int = 50,
        ) -> None: ...

    announce(Pipeline(), "hunyuanvideo", Request("a cat"), Recipe.of("svg"))
    assert said[0].startswith(
        "129 frames of 1280 × 720 pixels: 119,056 (33 × 45 × 80 video, 256 text) tokens"
    )
    assert ", 50 steps, " in said[0]
    assert "FLOPs if dense, attention " in said[0]
    announce(Pipeline(), "hunyuanvideo", Request("a cat", frames=33, steps=10), Recipe.of("svg"))
    assert said[1].startswith("33 frames of 1280 × 720 pixels: ")
    assert ", 10 steps, " in said[1]
    announce(Pipeline(), "shapes-s", Request("a red circle"), Recipe.of("svg"))  # takes seconds
    announce(Pipeline(), "nobody/knows", Request("a cat"), Recipe.of("svg"))  # cannot be counted
    assert len(said) == 2


def test_ctrl_c_says_at_once_what_is_finished_first(
    capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with signals.terminable("compare") as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert capfd.readouterr().err == (
            "\nstopping: writing results.json and the page of what is finished; Ctrl-C again ends at once\n"
        )
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert capfd.readouterr().err == ""
        assert (stop.code, stop.word) == (130, "interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with signals.terminable("methods"), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


def test_exactly_the_foreign_line_is_left_unsaid(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("transformers.utils.import_utils")
    before = list(logger.filters)
    try:
        leave_unsaid()
        leave_unsaid()
        assert len(logger.filters) == len(before) + (0 if before else 1)
        logger.warning("`CLIPImageProcessor` requires torchvision (not installed); falling back to `X`.")
        logger.warning("torchvision is broken")
        assert [record.getMessage() for record in caplog.records] in (["torchvision is broken"], [])
        assert logger.filter(logging.makeLogRecord({"msg": "torchvision is broken"}))
        assert not logger.filter(
            logging.makeLogRecord({"msg": "`Y` requires torchvision (not installed); falling back to `YPil`"})
        )
    finally:
        logger.filters[:] = before


def test_the_doctor_comes_to_a_verdict():
    found = [
        Finding("machine", "native kernels", False, "no compiler"),
        Finding("packages", "diffusers", True, "1"),
        Finding("packages", "matplotlib", False, "not installed"),
        Finding("metrics", "lpips", False, "no weights"),
    ]
    assert verdict(found) == (
        "Verdict: videos are made sparse here on the CPU, by kernels from PyTorch operations; packages missing: "
        "matplotlib; metrics missing: lpips."
    )
    assert "no video can be made: diffusers is missing" in verdict(found[:1])
