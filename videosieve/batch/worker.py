"""A worker: loads the model once, then makes one video a job. Also a program that speaks JSON lines, for executors."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

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


def serve(source: TextIO, sink: TextIO) -> None:
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


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a model prints must not mix with the answers
    serve(sys.stdin, answers)
