"""Who calls the transformer, and with which schedulers: read from the Python call stack.

The pipeline that was handed to `sparsify` need not be the one that runs: `from_pipe` makes others around the same
transformer, a server copies pipelines, people write denoising loops by hand. What really runs stands on the stack: the
nearest function above the forward that holds a pipeline or a scheduler. Nothing is kept of a frame but a mark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

from videosieve.integrations.diffusers.clock.stacks import (
    WAITING,
    callers,
    execution,
    find_execution,
    is_alive,
    of_threads,
    upward,
    variables,
)

_SELVES = ("self", "pipe", "pipeline", "components")
"""First parameters of functions that may run a pipeline."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The function that runs the denoising loop.

    Attributes:
        holder: The pipeline; None for a loop without one.
        schedulers: The schedulers within its reach, the likeliest first.
        loop: The execution of the loop; None where none was found. See `execution`.
        code: What it executes.
        thread: Number of the thread.
        site: The code that calls the transformer: the loop's own, or that of a function which it calls.
        inner: The execution of that.
        path: The executions from there up to the loop's, where the loop is whoever gave the scheduler away: that may
            be a program that runs several loops with it.
        waiting: Generators and coroutines below the loop, the nearest first, with the execution of each. They may stop
            midway and let another one run.
    """

    holder: Any = None
    schedulers: tuple[Any, ...] = ()
    loop: object = None
    code: CodeType | None = None
    thread: int = 0
    site: CodeType | None = None
    inner: object = None
    path: tuple[object, ...] = ()
    waiting: tuple[tuple[CodeType, object], ...] = ()

    def stands_beside(self, other: "Caller") -> object:
        """Which generator or coroutine of this caller runs while another execution of it, the other caller's, has
        stopped midway; None where none does: the two are of one loop, as far as anybody can tell."""
        here = {known for _, known in self.waiting}
        stopped = {
            code for code, known in other.waiting if known not in here and is_alive(other.thread, known, code)
        }
        same = other.thread == self.thread
        return next((known for code, known in self.waiting if same and code in stopped), None)

    def is_alive(self) -> bool:
        """Whether the loop, or the function that called the transformer, is still running."""
        if self.loop is None:
            return is_alive(self.thread, self.inner, self.site)
        return is_alive(self.thread, self.loop, self.code)

    def is_alive_elsewhere(self) -> bool:
        """Whether the loop is still running in another thread than this one."""
        return self.thread != get_ident() and find_execution(self.thread, self.loop) is not None

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
    frames = list(callers())
    nearest = frames[0] if frames else None
    inner = (None if nearest is None else nearest.f_code, execution(nearest))
    for place, frame in enumerate(frames):
        holder, schedulers = _held(frame)
        if schedulers:
            running, given = _loop(frames[place:], holder, schedulers)
            path = tuple(
                map(execution, takewhile(lambda one, end=running: one is not end, frames if given else ()))
            )
            below = _waiting(takewhile(lambda one, end=running: one is not end, frames))
            return Caller(holder, schedulers, execution(running), running.f_code, here, *inner, path, below)
    scheduler = getattr(known, "scheduler", None)
    there = () if scheduler is None else (scheduler,)
    return Caller(known, there, None, None, here, *inner, waiting=_waiting(frames))


def _waiting(frames: Iterable[FrameType]) -> tuple[tuple[CodeType, object], ...]:
    return tuple((one.f_code, execution(one)) for one in frames if one.f_code.co_flags & WAITING)


def _held(frame: FrameType) -> tuple[Any, tuple[Any, ...]]:
    """The pipeline and the schedulers among the variables of a frame; a scheduler of the function's own comes first,
    for it is often a copy of the pipeline's."""
    code, names = frame.f_code, variables(frame)
    first = names.get(code.co_varnames[0]) if code.co_argcount else None
    holders: list[Any] = [first] if _has_scheduler(first) else []
    kinds = [(_kind(type(value)), value) for value in names.values()]
    holders += [one for kind, one in kinds if kind == "pipeline" and _has_scheduler(one)]
    loose = [one for kind, one in kinds if kind == "scheduler"]
    schedulers = _distinct([*loose, *(one.scheduler for one in holders)])
    return holders[0] if holders else None, tuple(one for one in schedulers if is_set_up(one)) or schedulers


def _loop(frames: Sequence[FrameType], holder: Any, schedulers: tuple[Any, ...]) -> tuple[FrameType, bool]:
    """The frame that runs the loop, and whether it is whoever gave the scheduler away.

    For a method of the holder that is the holder's outermost method: its call, where blocks of it were in between. A
    function that got holder or scheduler as an argument may run once per window: whoever gave it runs the loop.
    """
    outer = _outermost_call(frames, holder)
    if outer is not None:
        return outer, False
    running, held = frames[0], (schedulers if holder is None else (holder,))
    for frame in frames[1:]:
        if not _is_given(running, held):
            break
        if any(value is one for value in variables(frame).values() for one in held):
            running = frame
    return running, running is not frames[0]


def _outermost_call(frames: Sequence[FrameType], holder: Any) -> FrameType | None:
    """The outermost frame that runs a method of the holder."""
    found = None
    for frame in frames if holder is not None else ():
        first = frame.f_code.co_varnames[0] if frame.f_code.co_argcount else ""
        if first in _SELVES and variables(frame).get(first) is holder:
            found = frame
    return found


def _is_given(frame: FrameType, held: tuple[Any, ...]) -> bool:
    code, names = frame.f_code, variables(frame)
    given = (*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], *code.co_freevars)
    return any(names.get(name) is one for name in given for one in held)


def _has_scheduler(value: Any) -> bool:
    """Looked up without running anybody's properties."""
    scheduler = getattr(value, "__dict__", {}).get("scheduler")
    return scheduler is not None and _kind(type(scheduler)) == "scheduler"


def is_set_up(scheduler: Any) -> bool:
    """False before `set_timesteps`: what is listed until then is the whole range of training. None is no scheduler."""
    if scheduler is None:
        return False
    steps = getattr(scheduler, "num_inference_steps", None)
    if steps is None and not hasattr(scheduler, "num_inference_steps"):
        return not hasattr(
            scheduler, "_step_index"
        )  # where only set_timesteps makes the attribute; or a foreign class
    return steps is not None


@lru_cache(maxsize=4096)
def _kind(cls: type) -> str:
    names = {base.__name__ for base in cls.__mro__}
    if names & {"DiffusionPipeline", "ModularPipeline"}:
        return "pipeline"
    is_scheduler = "SchedulerMixin" in names or (hasattr(cls, "set_timesteps") and hasattr(cls, "step"))
    return "scheduler" if is_scheduler else ""


def _distinct(values: list[Any]) -> tuple[Any, ...]:
    return tuple({id(value): value for value in values}.values())
