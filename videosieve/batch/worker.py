"""A worker: loads the model once, then makes one video a job. Also a program that speaks JSON lines, for executors."""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

from videosieve.batch.jobs import Job, Order, Outcome
from videosieve.errors import OutputError, VideosieveError


class Worker:
    """Makes the videos of one order on one device.

    Args:
        order: What all jobs share.
        device: As the loader takes it.

    Raises:
        ModelError: The model cannot be loaded.
    """

    def __init__(self, order: Order, device: str) -> None:
        from videosieve.generation.load import load_pipeline
        from videosieve.recipe import Recipe

        self._order = order
        self._recipe = Recipe.from_toml(order.recipe)
        self._pipe = load_pipeline(order.model, device, order.dtype or None)

    def do(self, job: Job) -> Outcome:
        """Make one video; its file appears under its name only when it is whole."""
        try:
            return self._make(job)
        except OutputError as error:
            return Outcome(job.number, "stopped", reason=str(error))
        except VideosieveError as error:
            return Outcome(job.number, "refused", reason=f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a model raises must not take the other jobs with it
            return Outcome(job.number, "failed", reason=f"{type(error).__name__}: {error}")

    def _make(self, job: Job) -> Outcome:
        from videosieve.generation.generate import generate
        from videosieve.generation.media import write_video
        from videosieve.generation.request import Request

        order = self._order
        request = Request(
            job.prompt, job.negative_prompt, Path(job.image) if job.image else None, order.steps, job.seed,
            order.height, order.width, order.frames, order.guidance,
        )  # fmt: skip
        clip = generate(self._pipe, request, self._recipe)
        name = job.stem + order.suffix
        write_video(clip.frames, Path(order.folder) / name, order.fps)
        density, warning = clip.trace.summary().run_density, "; ".join(clip.warnings)
        return Outcome(job.number, "done", name, "", round(clip.seconds, 3), round(density, 4), warning)


class Source(Protocol):
    """Where lines come from."""

    def readline(self) -> str:
        """The next line."""
        ...

    def __iter__(self) -> Iterator[str]:
        """The lines that follow."""
        ...


def serve(source: Source, sink: TextIO) -> None:
    """Answer jobs until the source ends: the first line is {"order", "device"}, then a job a line, an outcome a line.

    Args:
        source: Where lines come from.
        sink: Where answers go; the first is {"ready": true} or {"refused": reason}.
    """
    head = json.loads(source.readline())
    try:
        worker = Worker(Order(**head["order"]), head["device"])
    except VideosieveError as error:
        _answer(sink, {"refused": f"{type(error).__name__}: {error}"})
        return
    _answer(sink, {"ready": True})
    for line in source:
        _answer(sink, worker.do(Job(**json.loads(line))).as_json())


def _answer(sink: TextIO, message: dict[str, Any]) -> None:
    sink.write(json.dumps(message) + "\n")
    sink.flush()


class _Lines:
    """The lines of a pipe, read by a thread of its own: where the pipe ends, its writer is dead, and so are we.

    At once and not after the video at work, because whoever starts the batch again would make the same one. A video
    that is half written goes with the next start.
    """

    def __init__(self, source: TextIO) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()

    def readline(self) -> str:
        return self._lines.get()

    def __iter__(self) -> Iterator[str]:
        while True:
            yield self._lines.get()

    def _listen(self, source: TextIO) -> None:
        for line in source:
            self._lines.put(line)
        os._exit(0)


def main() -> None:
    """A worker process, until its parent ends or ends it."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a model prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    serve(_Lines(sys.stdin), answers)


if __name__ == "__main__":
    main()
