"""One worker process per device; they speak JSON lines, so nothing is pickled and a kill tears nothing but a line."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from videosieve.batch.jobs import Job, Jobs, Order, Outcome
from videosieve.errors import ModelError

MOST_DEATHS = 5  # of one worker before the batch gives up


def processes(order: Order, jobs: Jobs, devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
    """One process per entry of `devices`; the same device may be named several times.

    Arguments and results as for `serial`. Processes exchange JSON lines, nothing is pickled.

    Raises:
        ModelError: A worker cannot load the model.
    """
    answers: queue.Queue[tuple[_Process, dict[str, Any] | None]] = queue.Queue()
    workers = [_Process(order, device, answers) for device in devices]
    try:
        while jobs or any(worker.job for worker in workers):
            for worker in workers:
                worker.feed(jobs)
            worker, answer = answers.get()
            job, worker.job = worker.job, None
            if answer is None:
                worker.restart()
                if job:
                    yield job, Outcome(job.number, "failed", reason="the worker process died")
            elif "refused" in answer:
                raise ModelError(f"a worker cannot start: {answer['refused']}")
            elif job and "number" in answer:
                yield job, Outcome(**answer)
            else:
                worker.job = job  # it said that it is ready
    finally:
        for worker in workers:
            worker.close()


class _Process:
    """A worker process and the thread that listens to it."""

    def __init__(self, order: Order, device: str, answers: Any) -> None:
        self.job: Job | None = None
        self._order, self._device, self._answers = order, device, answers
        self._deaths = 0
        self._start()

    def feed(self, jobs: Jobs) -> None:
        if self.job is None and jobs:
            self.job = jobs.popleft()
            self._send(asdict(self.job))

    def restart(self) -> None:
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise ModelError(
                f"worker processes on {self._device} keep dying; run one prompt alone to see why"
            )
        self._process.wait()
        self._close_pipes()
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._close_pipes()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "videosieve.batch.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        self._send({"order": asdict(self._order), "device": self._device})

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            try:
                self._answers.put((self, json.loads(line)))
            except json.JSONDecodeError:
                break  # torn by a kill
        self._answers.put((self, None))

    def _send(self, message: dict[str, Any]) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with suppress(BrokenPipeError):  # it is dead: the listener says so
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
