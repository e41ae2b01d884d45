"""The budget of a tune bounds looking and screening too; what is screened is kept in parts; the clock goes on."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from videosieve.errors import ModelError, OutputError
from videosieve.generation.request import Request
from videosieve.tuning import looking as tune_looking
from videosieve.tuning.capture import capture
from videosieve.tuning.looking import least_seconds
from videosieve.tuning.order import Order, make_order
from videosieve.tuning.outcome import Moment
from videosieve.tuning.parts import OutOfTime, Parts
from videosieve.tuning.screening import screen
from videosieve.tuning.search import Goal, families
from videosieve.tuning.tune import run_tune

PROMPT = "a large red circle moves left over a striped background"
BASE = Request("", steps=4, guidance=1.0)


def order(minutes: float) -> Order:
    return make_order(
        Goal(psnr=20),
        [PROMPT],
        methods=("svg", "adaspa", "caching"),
        minutes=minutes,
        model="nano",
        base=BASE,
    )


def kinds(folder: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in (folder / "journal.jsonl").read_text().splitlines()[1:]]


def test_a_budget_too_small_for_anything_says_so_before_anything_is_looked_at(nano: Any, tmp_path: Path):
    seen: list[str] = []
    with pytest.raises(
        ModelError, match=r"too small for anything: a dense video takes about .* s here, .* at the least"
    ):
        run_tune(nano, order(1e-5), tmp_path, lambda moment: seen.append(moment.detail))
    assert set(seen) == {"how long a dense video takes"}
    assert kinds(tmp_path) == []


def test_the_least_is_a_look_a_measurement_and_a_check():
    assert least_seconds(10.0, 1, 3) == 10 * 4 + 10 * 3 * 2.8
    assert least_seconds(10.0, 2, 3) > least_seconds(10.0, 1, 3)


@pytest.mark.parametrize("late", [3, 16])
def test_looking_and_screening_end_when_half_of_the_budget_is_spent(
    nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
):
    """Time is counted in questions: after so many of them the half is spent."""
    asked = 0

    def spent(_self: object) -> float:
        nonlocal asked
        asked += 1
        return 0.0 if asked < late else 1e9

    monkeypatch.setattr("videosieve.tuning.tune._Work._spent", spent)
    with pytest.raises(ModelError, match="half of it, the most that looking and screening may take"):
        run_tune(nano, order(10.0), tmp_path)
    assert asked < late + 10  # it stopped at once
    assert "screen" not in kinds(tmp_path)


def test_a_screening_without_time_for_all_steps_takes_those_that_it_has(nano: Any):
    seen = capture(nano, Request(PROMPT, steps=4, guidance=1.0))
    listed = families(["svg", "adaspa"], seen.tokens)
    finished: list[dict[str, Any]] = []
    short = screen(seen, listed, parts=Parts(lambda: len(finished) >= 2, finished.append))
    whole = screen(seen, listed)
    assert short.looked == whole.looked[:2] == tuple(part["step"] for part in finished)
    assert short.sparse_harm.shape[0] == 2
    torch.testing.assert_close(short.sparse_harm, whole.sparse_harm[:2])
    for choice in short.choices:
        assert choice.error.shape[0] == 2
        assert torch.isfinite(choice.error).all()
    with pytest.raises(OutOfTime):
        screen(seen, listed, parts=Parts(lambda: True))


def test_finished_steps_are_taken_over_and_not_looked_at_again(nano: Any, monkeypatch: pytest.MonkeyPatch):
    seen = capture(nano, Request(PROMPT, steps=4, guidance=1.0))
    listed = families(["svg"], seen.tokens)  # without memory: a step tells the same whatever came before
    finished: list[dict[str, Any]] = []
    whole = screen(seen, listed, parts=Parts(keep=finished.append))
    plain = json.loads(json.dumps(finished))
    replayed: list[int] = []
    monkeypatch.setattr(
        "videosieve.tuning.screening.measure_harm",
        lambda *told: replayed.append(told[2]) or ([1.0] * len(told[3]), {}),
    )
    again = screen(seen, listed, parts=Parts(known={part["step"]: part for part in plain}))
    assert replayed == []
    assert [choice.knob for choice in again.choices] == [choice.knob for choice in whole.choices]
    for ours, theirs in zip(again.choices, whole.choices, strict=True):
        torch.testing.assert_close(ours.error, theirs.error)
        torch.testing.assert_close(ours.recall, theirs.recall)
        assert (ours.cost, ours.density) == (theirs.cost, theirs.density)
    torch.testing.assert_close(again.sparse_harm, whole.sparse_harm)


def test_an_interrupted_screening_goes_on_with_its_parts(
    nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Interrupt:
        def __init__(self, after: int) -> None:
            self.after = after

        @staticmethod
        def now(*_: object) -> None:
            raise KeyboardInterrupt

        def __call__(self, moment: Moment) -> None:
            if moment.detail == "methods and layers" and moment.done == self.after:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tune(nano, order(60.0), tmp_path, Interrupt(2))
    assert kinds(tmp_path) == ["look", "tables", "looked", "looked"]
    monkeypatch.setattr("videosieve.tuning.tune._Work._search", Interrupt.now)
    monkeypatch.setattr(tune_looking.Looking, "_require_room", lambda _: pytest.fail("it was asked before"))
    with pytest.raises(KeyboardInterrupt):
        run_tune(nano, order(60.0), tmp_path)
    found = kinds(tmp_path)
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "journal.jsonl").read_text().splitlines()[1:]
        if json.loads(line)["kind"] == "looked"
    ]
    assert len(steps) == len(set(steps)) == found.count("looked")
    assert found.count("tables") == found.count("screen") == 1


def test_a_damaged_part_is_a_line_that_says_so(nano: Any, tmp_path: Path):
    path = tmp_path / "journal.jsonl"

    def stop(moment: Moment) -> None:
        if (moment.detail, moment.done) == ("methods and layers", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tune(nano, order(60.0), tmp_path, stop)
    lines = path.read_text().splitlines()
    part = json.loads(lines[-1])
    del part["rows"]
    path.write_text("\n".join([*lines[:-1], json.dumps(part)]) + "\n")
    with pytest.raises(OutputError, match="line 4 is no entry of a journal"):
        run_tune(nano, order(60.0), tmp_path)


def test_the_clock_on_the_screen_goes_on_while_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    from videosieve.cli import tune_progress as tune_screen

    monkeypatch.setattr(tune_screen, "err", Console(file=io.StringIO(), force_terminal=True, width=100))
    shown = tune_screen.TuneScreen(Goal(psnr=30))
    with shown:
        shown.show(Moment("screening", "methods and layers", 1, 5, 61.0, 600.0, ()))
        monkeypatch.setattr(time, "monotonic", lambda start=time.monotonic(): start + 125.0)
        screen_now = Console(file=(sink := io.StringIO()), width=100)
        screen_now.print(shown._picture())
    assert "3:06 of 10:00" in sink.getvalue()
