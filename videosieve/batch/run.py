"""Works through a batch: every job ends exactly once, whatever dies on the way."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from videosieve.batch.executors import EXECUTORS
from videosieve.batch.jobs import Job, Order, Outcome
from videosieve.batch.manifest import Manifest
from videosieve.errors import BackendError, OutputError
from videosieve.fields import In, checked, nearest
from videosieve.files import sweep

MANIFEST = "manifest.jsonl"
Retries = Annotated[int, In("[0, 1000]", "must be retries >= 0, at most 1,000")]


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """How a batch ended.

    Attributes:
        done: Videos made in this run.
        found: Videos that an earlier run had made.
        failures: Jobs without a video, with the reason of their last attempt.
        warnings: What was not as the recipe means it in the videos of this run, each sentence once.
    """

    done: int
    found: int
    failures: tuple[tuple[Job, str], ...]
    warnings: tuple[str, ...] = ()


def run_batch(
    order: Order,
    jobs: list[Job],
    *,
    executor: str = "serial",
    devices: tuple[str, ...] = ("cpu",),
    retries: int = 1,
    manifest: str = MANIFEST,
    watch: Callable[[Job, Outcome, int], None] = lambda *_: None,
) -> BatchSummary:
    """Make the videos of all jobs that have none yet.

    Args:
        order: What all jobs share.
        jobs: What to make; numbers must differ.
        executor: A key of EXECUTORS.
        devices: One worker per entry; the serial executor takes the first.
        retries: Further attempts at a job whose attempt failed, >= 0; a refused request is not tried again.
        manifest: File name of the manifest in the folder; every shard has its own.
        watch: Called after every job that has ended, with its outcome and the number of jobs left.

    Returns:
        What was made and what was not, and why.

    Raises:
        BackendError: Unknown executor, or one that is not installed.
        OutputError: The folder belongs to another batch or cannot be written (disk full); finished videos stay.
        ModelError: The model cannot be loaded.
    """
    if executor not in EXECUTORS:
        raise BackendError(
            f"unknown executor {executor!r}{nearest(executor, EXECUTORS)}; there are {', '.join(EXECUTORS)}"
        )
    checked("retries", retries, Retries, BackendError)
    if not devices:
        raise BackendError(f"a batch needs at least one device, got {devices=}")
    with Manifest(Path(order.folder) / manifest, order, jobs) as book:
        waiting = deque(job for job in jobs if not (Path(order.folder) / (job.stem + order.suffix)).is_file())
        left, found = len(waiting), len(jobs) - len(waiting)
        attempts = dict.fromkeys((job.number for job in jobs), 0)
        failures: dict[int, tuple[Job, str]] = {}
        warnings: dict[str, None] = {}
        if not waiting:
            return BatchSummary(0, found, ())
        with (
            closing(EXECUTORS[executor](order, waiting, list(devices))) as results,  # type: ignore[type-var]
            _told_what_is_kept(lambda: len(jobs) - left, len(jobs), order.folder),
        ):
            for job, outcome in results:
                attempts[job.number] += 1
                if outcome.status == "failed":
                    sweep(Path(order.folder))  # the worker was perhaps killed while it wrote
                    if attempts[job.number] <= retries:
                        waiting.append(job)
                        continue
                book.add(outcome)
                if outcome.status == "stopped":
                    made = len(jobs) - left
                    raise OutputError(f"{outcome.reason}; {made} videos are finished, run it again to go on")
                if outcome.status != "done":
                    failures[job.number] = (job, outcome.reason)
                warnings |= dict.fromkeys(filter(None, (outcome.warning,)))
                left -= 1
                watch(job, outcome, left)
        return BatchSummary(
            len(jobs) - found - len(failures), found, tuple(failures.values()), tuple(warnings)
        )


@contextmanager
def _told_what_is_kept(finished: Callable[[], int], videos: int, folder: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        done = f"{finished()} of {videos} videos are finished in {folder!r}"
        raise KeyboardInterrupt(f"{done}; the same command goes on") from None
