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
