"""A batch ends every job exactly once: after failures, killed workers and a killed driver."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videosieve.batch import EXECUTORS, Job, Order, run_batch
from videosieve.batch import run as batch_run
from videosieve.batch.jobs import Jobs, Outcome
from videosieve.batch.manifest import Manifest
from videosieve.cli import app
from videosieve.errors import BackendError, ModelError, OutputError
from videosieve.files import whole_file
from videosieve.recipe import Recipe
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline

PROMPTS = (
    "a red circle moves left",
    "a blue square moves up",
    "a white star stays still",
    "a green cross moves right",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def order(model: str, tmp_path: Path) -> Order:
    return Order(model, Recipe.of("dense").to_toml(), str(tmp_path / "out"), ".gif", steps=1, frames=4)


def jobs(count: int = 4) -> list[Job]:
    return [Job(number, PROMPTS[number % 4], number) for number in range(count)]


def events(order: Order) -> list[dict[str, Any]]:
    lines = (Path(order.folder) / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def check_complete(order: Order, wanted: list[Job]) -> None:
    """Every video is there and whole, each was made once, and nothing else is in the folder."""
    from PIL import Image

    names = sorted(path.name for path in Path(order.folder).iterdir() if path.suffix != ".jsonl")
    assert names == sorted(job.stem + order.suffix for job in wanted)
    for name in names:
        with Image.open(Path(order.folder) / name) as picture:
            assert getattr(picture, "n_frames", 1) == 4
    done = [event["number"] for event in events(order) if event["status"] == "done"]
    assert len(done) == len(set(done))


def test_serial_makes_every_video_and_a_second_run_finds_them(order: Order):
    seen = []
    summary = run_batch(
        order, jobs(), watch=lambda job, outcome, left: seen.append((job.number, outcome.status, left))
    )
    assert (summary.done, summary.found, summary.failures) == (4, 0, ())
    assert seen == [(0, "done", 3), (1, "done", 2), (2, "done", 1), (3, "done", 0)]
    check_complete(order, jobs())
    assert all(event["seconds"] > 0 and event["run_density"] == 1 for event in events(order))
    again = run_batch(order, jobs())
    assert (again.done, again.found) == (0, 4)
    assert len(events(order)) == 4


def test_a_video_without_an_event_is_not_made_twice(order: Order):
    run_batch(order, jobs())
    path = Path(order.folder) / "manifest.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:20])  # killed after the renaming, in the middle of a line
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.glob("*.gif")}
    assert run_batch(order, jobs()).found == 4
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.glob("*.gif")} == before
    assert path.read_text() == "".join(lines[:3])


def test_a_refused_prompt_fails_alone_and_is_not_tried_again(order: Order):
    wanted = [*jobs(2), Job(2, "a purple elephant")]
    summary = run_batch(order, wanted, retries=3)
    assert summary.done == 2
    ((job, reason),) = summary.failures
    assert job.number == 2
    assert "PromptError" in reason
    assert [event["status"] for event in events(order)] == ["done", "done", "refused"]


def test_processes_replace_a_killed_worker_and_do_its_job_again(order: Order):
    killed = []

    def kill_one(job: Job, outcome: Outcome, left: int) -> None:
        del job, outcome, left
        if not killed:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            workers = [
                int(pid) for pid in children if b"batch.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])

    wanted = jobs(6)
    summary = run_batch(order, wanted, executor="process", devices=("cpu", "cpu"), watch=kill_one)
    assert killed
    assert (summary.done, summary.failures) == (6, ())
    check_complete(order, wanted)


KILLED_AT_WORK = """
import os, signal, threading
from videosieve.batch.manifest import Manifest
from videosieve.cli import main

def add(self, outcome, add=Manifest.add):
    add(self, outcome)
    if outcome.number == 2:  # of 8, and the next is begun
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()

Manifest.add = add
main()
"""


def test_a_killed_driver_resumes_and_does_nothing_twice(order: Order, tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    wanted = jobs(8)
    prompts.write_text("".join(json.dumps({"prompt": job.prompt, "seed": job.seed}) + "\n" for job in wanted))
    words = [
        "batch", str(prompts), "-o", order.folder, "--model", order.model,
        "--method", "dense", "--steps", "1", "--frames", "4", "--format", "gif", "--devices", "cpu",
    ]  # fmt: skip
    driver = subprocess.run(
        [sys.executable, "-c", KILLED_AT_WORK, *words], capture_output=True, text=True, check=False
    )
    assert driver.returncode == -signal.SIGKILL, driver.stderr
    assert len(list(Path(order.folder).glob("0*.gif"))) < 8
    finished = subprocess.run(
        [sys.executable, "-m", "videosieve", *words], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "0 failed" in finished.stdout
    check_complete(order, wanted)


def test_ray_actors_that_die_are_replaced(order: Order, monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about its own default
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
    killed = []

    def kill_one(job: Job, outcome: Outcome, left: int) -> None:
        del job, outcome, left
        if not killed:
            killed.append(_kill_a_ray_worker())

    try:
        wanted = jobs(4)
        summary = run_batch(order, wanted, executor="ray", devices=("cpu",), watch=kill_one)
    finally:
        ray.shutdown()
    assert killed
    assert (summary.done, summary.failures) == (4, ())
    check_complete(order, wanted)


def _is_ours(pid: int) -> bool:
    """Whether a process descends from this one: another worker of pytest, or another checkout, may run actors too."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])  # its parent
        if pid == os.getpid():
            return True
    return False


def _kill_a_ray_worker() -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            if (folder / "cmdline").read_bytes().startswith(b"ray::_Actor") and _is_ours(int(folder.name)):
                os.kill(int(folder.name), signal.SIGKILL)
                return int(folder.name)
    raise AssertionError("no actor is running")


def _scripted(*statuses: str) -> Any:
    """An executor whose attempts end as told."""
    left = list(statuses)

    def work(order: Order, waiting: Jobs, devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
        del order, devices
        while waiting:
            job = waiting.popleft()
            yield job, Outcome(job.number, left.pop(0), reason="told so")  # type: ignore[arg-type]

    return work


def test_crashes_are_tried_again_as_often_as_asked(order: Order, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(EXECUTORS, "serial", _scripted("failed", "done", "failed"))
    summary = run_batch(order, jobs(2), retries=1)
    assert (summary.done, [job.number for job, _ in summary.failures]) == (1, [0])
    monkeypatch.setitem(EXECUTORS, "serial", _scripted("done", "done"))
    assert run_batch(order, jobs(2)).done == 2  # the next run tries again what has no video


def test_what_a_killed_writer_left_goes_and_nothing_else(order: Order, monkeypatch: pytest.MonkeyPatch):
    wanted, folder = jobs(2), Path(order.folder)
    folder.mkdir()
    torn, alive = folder / ".videosieve-part-00000000", wanted[1].stem + order.suffix
    kept = [folder / ".hidden", folder / ".videosieve-part-of-mine"]
    for path in (torn, *kept):
        path.mkdir()
        (path / "half.gif").touch()

    def killed_once(_order: Order, waiting: Jobs, _devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
        assert not torn.exists()  # of an earlier run
        job = waiting.popleft()
        torn.mkdir()
        with whole_file(folder / alive) as being_written:
            being_written.touch()
            yield job, Outcome(job.number, "failed", reason="the worker process died")
            assert (torn.exists(), being_written.exists()) == (False, True)
        for job in waiting:
            yield job, Outcome(job.number, "done")

    monkeypatch.setitem(EXECUTORS, "serial", killed_once)
    assert run_batch(order, wanted).done == 2
    assert sorted(folder.glob(".*")) == sorted(kept)
    assert (folder / alive).exists()


def test_a_full_disk_stops_the_batch_and_says_what_is_finished(order: Order, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(EXECUTORS, "serial", _scripted("done", "stopped"))
    with pytest.raises(OutputError, match="1 videos are finished"):
        run_batch(order, jobs(3))


def test_failures_are_listed_and_the_exit_code_is_one(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\n")
    monkeypatch.setitem(EXECUTORS, "serial", _scripted("done", "refused"))
    words = ["batch", str(tmp_path / "prompts.txt"), "-o", order.folder, "--model", order.model]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, words)
    assert result.exit_code == 1
    assert "1 videos made, 0 were there, 1 failed" in result.stdout
    assert "1 'a blue square' seed 0: told so" in result.stdout


def test_manifests_of_other_batches_and_running_ones_are_refused(order: Order, tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    with (
        Manifest(path, order, jobs(2)),
        pytest.raises(OutputError, match="another process.*shard of its own"),
    ):
        Manifest(path, order, jobs(2))
    with pytest.raises(
        OutputError, match=r"other prompts or settings \(2 jobs, \w+\) than these \(3 jobs, \w+\)"
    ):
        Manifest(path, order, jobs(3))
    path.write_text('{"manifest": 99}\n')
    with pytest.raises(OutputError, match="manifest of version 1"):
        Manifest(path, order, jobs(2))


def test_bad_arguments_and_models_are_refused(order: Order):
    with pytest.raises(BackendError, match="did you mean 'serial'"):
        run_batch(order, jobs(1), executor="serail")
    with pytest.raises(BackendError, match="retries >= 0"):
        run_batch(order, jobs(1), retries=-1)
    lost = Order("/nowhere", order.recipe, order.folder)
    for executor in ("serial", "process"):
        with pytest.raises(ModelError, match="nowhere"):
            run_batch(lost, jobs(1), executor=executor)
    assert batch_run.MANIFEST == "manifest.jsonl"
