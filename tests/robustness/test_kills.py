"""A kill between any two operations on files loses nothing that was finished, and no folder is refused for it."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from videosieve.batch import EXECUTORS, Job, Order, run_batch
from videosieve.batch.jobs import Outcome
from videosieve.cli import app
from videosieve.comparison.plan import check_folder, clear_folder
from videosieve.files import AppendLog, sweep, write_tensors, write_text
from videosieve.judging.batches import FinishedBatches, clear_batches
from videosieve.recipe import Recipe
from videosieve.report import Results
from videosieve.tuning.order import check_folder as check_tune_folder

OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def killed_at(number: int, work: Callable[[], None], folder: Path) -> bool:
    """Do something in a fork that is killed before its n-th operation in a folder; False where it has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads do not survive a fork, and none is needed
        child = os.fork()
    if child == 0:
        code, seen = 3, 0

        def watch(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if name in OPERATIONS and arguments and str(folder) in str(arguments[0]):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            torch.set_num_threads(1)
            sys.addaudithook(watch)
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), "the work failed by itself"
    return status != 0


def moments(
    work: Callable[[Path], None],
    tmp_path: Path,
    before: Callable[[Path], None] = lambda _: None,
) -> Iterator[Path]:
    """Folders in which the work was killed, one for each of its moments."""
    for number in range(1, 500):
        folder = tmp_path / str(number)
        folder.mkdir()
        before(folder)
        died = killed_at(number, lambda folder=folder: work(folder), folder)
        yield folder
        if not died:
            assert number > 3  # it was killed at all
            return
    raise AssertionError("it never ends")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_old_or_the_new_one_and_the_next_start_sweeps(tmp_path: Path):
    seen = set()
    for folder in moments(
        lambda folder: write_text(folder / "a", "new"),
        tmp_path,
        lambda folder: write_text(folder / "a", "old"),
    ):
        seen.add((folder / "a").read_text())
        sweep(folder)
        assert names(folder) == ["a"]
    assert seen == {"old", "new"}


def test_tensors_too(tmp_path: Path):
    for folder in moments(
        lambda folder: write_tensors(folder / "a.safetensors", {"x": torch.ones(3)}), tmp_path
    ):
        sweep(folder)
        assert names(folder) in ([], ["a.safetensors"])


class Diary(AppendLog):
    kind = "diary"


def keep_a_diary(folder: Path, days: int) -> None:
    with Diary(folder / "diary.jsonl", {}) as diary:
        for day in range(len(diary.lines), days):
            diary.append({"day": day})


@pytest.mark.parametrize("days", [0, 2])
def test_a_log_goes_on_after_every_moment(tmp_path: Path, days: int):
    def begun(folder: Path) -> None:
        if days:
            keep_a_diary(folder, days)

    for folder in moments(lambda folder: keep_a_diary(folder, 3), tmp_path, begun):
        check_tune_folder_like(folder)
        keep_a_diary(folder, 4)
        lines = (folder / "diary.jsonl").read_text().splitlines()
        assert [json.loads(line).get("day") for line in lines] == [None, 0, 1, 2, 3]
        assert names(folder) == ["diary.jsonl"]


def check_tune_folder_like(folder: Path) -> None:
    """What is left before the log is there is no reason to refuse the folder."""
    if not (folder / "diary.jsonl").exists():
        check_tune_folder(folder)
        assert not check_folder(folder)


RESULTS = Results("m", "P", {}, {}, {}, {}, "2026-01-01", clips=[])


def test_replacing_results_leaves_a_folder_that_can_be_used(tmp_path: Path):
    def begun(folder: Path) -> None:
        old = {"clips": [{"files": {"video": "a.mp4", "poster": "a.png"}}], "schema": 1}
        write_text(folder / "results.json", json.dumps(old))
        for name in ("a.mp4", "a.png", "report.html"):
            (folder / name).touch()

    def work(folder: Path) -> None:
        if check_folder(folder):
            clear_folder(folder)
        replace(RESULTS).save(folder)

    for folder in moments(work, tmp_path, begun):
        work(folder)
        assert names(folder) == ["report.html", "results.json"]


def test_a_new_results_folder_is_not_refused_for_what_a_kill_left(tmp_path: Path):
    for folder in moments(RESULTS.save, tmp_path):
        check_folder(folder)
        clear_folder(folder)
        check_tune_folder(folder) if not names(folder) else None


def test_a_batch_makes_every_video_once_whatever_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jobs = [Job(number, "a red circle", number) for number in range(3)]

    def write(order: Order, waiting: "deque[Job]", _devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
        while waiting:
            job = waiting.popleft()
            path = Path(order.folder) / (job.stem + order.suffix)
            assert not path.exists()
            write_text(path, job.stem)
            yield job, Outcome(job.number, "done")

    monkeypatch.setitem(EXECUTORS, "serial", write)

    def work(folder: Path) -> None:
        run_batch(Order("nano", Recipe.of("dense").to_toml(), str(folder), ".gif"), jobs)

    for folder in moments(work, tmp_path):
        work(folder)
        assert names(folder) == sorted(["manifest.jsonl", *(job.stem + ".gif" for job in jobs)])


def test_an_evaluation_keeps_its_batches_and_tidies_up_at_any_moment(tmp_path: Path):
    def work(folder: Path) -> None:
        kept = FinishedBatches(folder / "unfinished", "set", {})
        for first in (0, 2):
            if kept.find(first) is None:
                kept.keep(first, torch.full((2, 1, 3, 4, 4), float(first)))
        assert kept.find(2) is not None
        clear_batches(folder / "unfinished")

    for folder in moments(work, tmp_path):
        work(folder)
        assert names(folder) == []


def test_sigterm_ends_a_verb_as_an_interrupt_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    before = signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # as a process begins; ray leaves a handler of its own
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, before))
    monkeypatch.setattr("videosieve.report.write_report", stop)
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert (result.exit_code, result.stderr.strip()) == (128 + signal.SIGTERM, "terminated")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_worker_ends_with_its_parent_in_the_middle_of_a_job(tmp_path: Path):
    """The parent's end of the pipe closes when it dies, however it dies."""
    program = (
        "import sys, time\n"
        "from videosieve.batch import worker\n"
        "def serve(source, sink):\n"
        "    print(source.readline().strip(), file=sink, flush=True)\n"
        "    time.sleep(600)\n"  # a long video
        "worker.serve = serve\n"
        "worker.main()\n"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "hello\n"
        os.kill(process.pid, signal.SIGINT)  # Ctrl-C is for the parent
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_two_hundred_kills_lose_and_tear_nothing(tmp_path: Path):
    words = [sys.executable, "-m", "benchmarks.robustness.kills", "--kills", "200"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, total = done.stdout.strip().splitlines()
    assert int(total.split("|")[2]) >= 200, total


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_batch(tmp_path: Path, number: int):
    (tmp_path / "p.txt").write_text("a red circle moves left\na blue square moves up\n")
    words = [
        "batch",
        str(tmp_path / "p.txt"),
        "--model",
        "shapes-s",
        "--steps",
        "200",
        "--executor",
        "process",
    ]
    words += ["--devices", "cpu,cpu", "-o", str(tmp_path / "out"), "--format", "gif"]
    process = subprocess.Popen(
        [sys.executable, "-m", "videosieve", *words], stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(workers := children.read_text().split()) < 2:
        assert process.poll() is None
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=120)
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert "terminated: 0 of 2 videos are finished" in " ".join(said.split())
    for _ in range(1200):
        if not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)
    assert not list((tmp_path / "out").glob("*.gif"))
