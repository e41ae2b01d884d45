"""Actors of a Ray cluster: many machines, or the devices of one."""

from collections.abc import Iterator
from typing import Any

from videosieve.batch.jobs import Job, Jobs, Order, Outcome
from videosieve.batch.worker import Worker
from videosieve.errors import BackendError, ModelError, VideosieveError


def ray_actors(order: Order, jobs: Jobs, devices: list[str]) -> Iterator[tuple[Job, Outcome]]:
    """One Ray actor per entry of `devices`, each with a GPU of its own where the device is "cuda".

    Arguments and results as for `serial`. Joins the cluster that RAY_ADDRESS names, or starts one on this machine; the
    output folder must be shared between its machines.

    Raises:
        BackendError: Ray is not installed.
        ModelError: An actor cannot load the model.
    """
    try:
        import ray
    except ImportError:
        raise BackendError("the ray executor needs Ray: pip install 'videosieve[ray]'") from None
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False, ignore_reinit_error=True)
    try:
        yield from _work_with_actors(ray, order, jobs, devices)
    finally:
        if started:
            ray.shutdown()


def _work_with_actors(
    ray: Any, order: Order, jobs: Jobs, devices: list[str]
) -> Iterator[tuple[Job, Outcome]]:
    def hire(device: str) -> Any:
        gpus = int(device.startswith("cuda"))
        return ray.remote(_Actor).options(num_cpus=1, num_gpus=gpus).remote(order, device)

    idle = [(device, hire(device)) for device in devices]
    busy: dict[Any, tuple[str, Any, Job]] = {}
    while jobs or busy:
        while idle and jobs:
            device, actor = idle.pop()
            job = jobs.popleft()
            busy[actor.do.remote(job)] = (device, actor, job)
        (ready,), _ = ray.wait(list(busy), num_returns=1)
        device, actor, job = busy.pop(ready)
        try:
            outcome = ray.get(ready)
        except ray.exceptions.RayActorError:
            outcome, actor = Outcome(job.number, "failed", reason="the worker actor died"), hire(device)
        except ray.exceptions.RayTaskError as error:
            raise ModelError(f"an actor cannot start: {error.cause}") from None
        idle.append((device, actor))
        yield job, outcome


class _Actor:
    """A worker whose constructor never fails, so that the reason travels back as an error of its first job."""

    def __init__(self, order: Order, device: str) -> None:
        try:
            self._worker = Worker(order, device)
        except VideosieveError as error:
            self._worker = error

    def do(self, job: Job) -> Outcome:
        if isinstance(self._worker, VideosieveError):
            raise self._worker
        return self._worker.do(job)
