"""The Python call stacks of this process: who stands above a forward, and what other threads are inside of."""

import inspect
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_KEEPS_SNAPSHOTS = sys.version_info < (3, 13)

_DEPTH = 200
"""Frames that are looked through at most."""

BETWEEN = ("torch.", "accelerate.", "videosieve.integrations.", "diffusers.hooks.", "contextlib", "functools")
"""Modules whose frames lie between a forward and its caller."""


def upward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and its callers, the nearest first."""
    for _ in range(_DEPTH):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def callers() -> Iterator[FrameType]:
    """The frames above the transformer that is being called."""
    return (frame for frame in upward(inspect.currentframe()) if not _module(frame).startswith(BETWEEN))


class _Mark:
    """Stands for one execution of a function. Callable as trace functions are, and does nothing."""

    def __call__(self, *_: object) -> None:
        return None


def execution(frame: FrameType | None) -> object:
    """What tells this execution of a function from every other one.

    The number of a frame does not: the next call of the function gets the same memory. So the frame carries a mark
    where its trace function would be, which nobody calls unless a debugger traces; where one does, or another trace
    function stands there, the number must do. The mark holds nothing of the frame and goes with it.

    Args:
        frame: The frame that executes it; None for no frame.

    Returns:
        A value that equals itself alone; None without a frame.
    """
    if frame is None or isinstance(frame.f_trace, _Mark):
        return frame and frame.f_trace
    if frame.f_trace is not None or sys.gettrace() is not None:
        return id(frame)
    frame.f_trace = mark = _Mark()
    return mark


def is_execution(frame: FrameType, known: object) -> bool:
    """Whether a frame is that of an execution that was seen before."""
    return known is not None and (frame.f_trace is known or (isinstance(known, int) and id(frame) == known))


def find_execution(thread: int, known: object) -> FrameType | None:
    """The frame of an execution that is not over yet; None where it is."""
    if known is None:
        return None
    return next((one for one in upward(of_threads().get(thread)) if is_execution(one, known)), None)


def of_threads() -> dict[int, FrameType]:
    """The newest frame of every thread, by number of the thread."""
    return vars(sys)["_current_frames"]()


def variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame, and no trace of having looked.

    Before Python 3.13 a function's frame keeps the dict that it hands out, and with it everything that its variables
    were at that moment, until the function ends. It is emptied, which leaves the variables themselves alone.
    """
    seen = frame.f_locals
    copied = dict(seen)
    if _KEEPS_SNAPSHOTS and frame.f_code.co_flags & inspect.CO_OPTIMIZED and sys.gettrace() is None:
        seen.clear()
    return copied


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
