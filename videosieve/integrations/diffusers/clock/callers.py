"""Who calls the transformer, and with which schedulers: read from the Python call stack.

The pipeline that was handed to `sparsify` need not be the one that runs: `from_pipe` makes others around the same
transformer, a server copies pipelines, people write denoising loops by hand. What really runs stands on the stack: the
nearest function above the forward that holds a pipeline or a scheduler. Nothing is kept of a frame but its number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

from videosieve.integrations.diffusers.clock.stacks import callers, of_threads, upward, variables

_SELVES = ("self", "pipe", "pipeline", "components")
"""First parameters of functions that may run a pipeline."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The function that runs the denoising loop.

    Attributes:
        holder: The pipeline; None for a loop without one.
        schedulers: The schedulers within its reach, the likeliest first.
        frame: Number of the frame that runs the loop, as long as that lives; 0 where none was found.
        code: What it executes.
        thread: Number of the thread.
    """

    holder: Any = None
    schedulers: tuple[Any, ...] = ()
    frame: int = 0
    code: CodeType | None = None
    thread: int = 0

    def is_alive_elsewhere(self) -> bool:
        """Whether the loop is still running in another thread than this one."""
        frame = of_threads().get(self.thread) if self.thread != get_ident() else None
        return any(id(one) == self.frame for one in upward(frame))

    def has_twin(self) -> bool:
        """Whether another thread is inside the same code."""
        others = (frame for thread, frame in of_threads().items() if thread != self.thread)
        return any(one.f_code is self.code for top in others for one in upward(top))


def find_caller(known: Any) -> Caller:
    """The caller of the forward that is about to run.

    Args:
        known: The pipeline that was handed over; stands in where the stack shows none. May be None.

    Returns:
        The caller.
    """
    here = get_ident()
    frames = callers()
    for frame in frames:
        holder, schedulers = _held(frame)
        if schedulers:
            outer = holder and _outermost_call(frames, holder)
            running = outer or frame
            return Caller(holder, schedulers, id(running), running.f_code, here)
    scheduler = getattr(known, "scheduler", None)
    return Caller(known, () if scheduler is None else (scheduler,), 0, None, here)


def _held(frame: FrameType) -> tuple[Any, tuple[Any, ...]]:
    """The pipeline and the schedulers among the variables of a frame."""
    code, names = frame.f_code, variables(frame)
    first = names.get(code.co_varnames[0]) if code.co_argcount else None
    if first is not None and _has_scheduler(first):
        return first, _distinct([first.scheduler, *_of_kind(names, "scheduler")])
    pipelines = [one for one in _of_kind(names, "pipeline") if _has_scheduler(one)]
    loose = _of_kind(names, "scheduler")
    holder = pipelines[0] if pipelines else None
    return holder, _distinct([*loose, *(one.scheduler for one in pipelines)])


def _outermost_call(frames: Iterator[FrameType], holder: Any) -> FrameType | None:
    """The outermost frame that runs a method of the holder: its call, where blocks of it were in between."""
    found = None
    for frame in frames:
        first = frame.f_code.co_varnames[0] if frame.f_code.co_argcount else ""
        if first in _SELVES and variables(frame).get(first) is holder:
            found = frame
    return found


def _of_kind(names: dict[str, Any], kind: str) -> list[Any]:
    return [value for value in names.values() if _kind(type(value)) == kind]


def _has_scheduler(value: Any) -> bool:
    """Looked up without running anybody's properties."""
    scheduler = getattr(value, "__dict__", {}).get("scheduler")
    return scheduler is not None and _kind(type(scheduler)) == "scheduler"


@lru_cache(maxsize=4096)
def _kind(cls: type) -> str:
    names = {base.__name__ for base in cls.__mro__}
    if names & {"DiffusionPipeline", "ModularPipeline"}:
        return "pipeline"
    is_scheduler = "SchedulerMixin" in names or (hasattr(cls, "set_timesteps") and hasattr(cls, "step"))
    return "scheduler" if is_scheduler else ""


def _distinct(values: list[Any]) -> tuple[Any, ...]:
    return tuple({id(value): value for value in values}.values())
