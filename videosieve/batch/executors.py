"""Who works: this process, one process a device, or actors of a Ray cluster. All hand out jobs one at a time.

An executor yields (job, outcome) in any order. A worker that dies ends its job as "failed" and is replaced; whether the
job is tried again is not the executor's business.
"""

from collections.abc import Iterator

from videosieve.batch.jobs import Executor, Job, Jobs, Order, Outcome
from videosieve.batch.processes import processes
from videosieve.batch.ray_actors import ray_actors
from videosieve.batch.worker import Worker


def serial(order: Order, jobs: Jobs, devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
    """One job after the other in this process, on the first device.

    Args:
        order: What all jobs share.
        jobs: Taken from the left; more may be added while it runs.
        devices: Where to work.

    Yields:
        Every job with its outcome.
    """
    worker = Worker(order, devices[0])
    while jobs:
        job = jobs.popleft()
        yield job, worker.do(job)


EXECUTORS: dict[str, Executor] = {"serial": serial, "process": processes, "ray": ray_actors}
