"""The Python call stacks of this process: who stands above a forward, and what other threads are inside of."""

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any
from weakref import ref

_KEEPS_SNAPSHOTS = sys.version_info < (3, 13)

_OWN_REFERENCES = 3
"""To a frame's dict of variables: the frame's, ours, and that of the call that counts them."""

WAITING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of code that may stop midway and go on later."""

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
        A reference to the mark, which equals itself alone; the number; None without a frame.
    """
    if frame is None:
        return None
    mark = frame.f_trace
    if not isinstance(mark, _Mark):
        if mark is not None or sys.gettrace() is not None:
            return id(frame)
        frame.f_trace = mark = _Mark()
    return ref(mark)


def find_execution(thread: int, known: object) -> FrameType | None:
    """The frame of an execution that is not over yet, on the stack of its thread; None where it is not there."""
    mark = known() if isinstance(known, ref) else None
    if mark is None and not isinstance(known, int):
        return None
    frames = upward(of_threads().get(thread))
    return next((one for one in frames if id(one) == known or (mark and one.f_trace is mark)), None)


def is_alive(thread: int, known: object, code: CodeType | None) -> bool:
    """Whether an execution is not over yet; that of a generator may wait, and is on no stack then."""
    if isinstance(known, ref) and code is not None and code.co_flags & WAITING:
        return known() is not None
    return find_execution(thread, known) is not None


def of_threads() -> dict[int, FrameType]:
    """The newest frame of every thread, by number of the thread."""
    return vars(sys)["_current_frames"]()


def variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame, and no trace of having looked.

    Before Python 3.13 a function's frame keeps the dict that it hands out, and with it everything that its variables
    were at that moment, until the function ends. It is emptied, which leaves the variables themselves alone; unless
    somebody holds it, who asked for `locals()` and means to use it.
    """
    seen = frame.f_locals
    copied = dict(seen)
    theirs = sys.getrefcount(seen) > _OWN_REFERENCES or sys.gettrace() is not None
    if _KEEPS_SNAPSHOTS and frame.f_code.co_flags & inspect.CO_OPTIMIZED and not theirs:
        seen.clear()
    return copied


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
