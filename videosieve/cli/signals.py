"""SIGTERM ends a verb as Ctrl-C does: what is finished is kept, the message says so, and workers end too."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes, as shells and schedulers count them."""


class Stop:
    """Whether SIGTERM came.

    Attributes:
        terminated: True from then on.
    """

    def __init__(self) -> None:
        self.terminated = False

    @property
    def code(self) -> int:
        """The exit code of what was interrupted."""
        return TERMINATED if self.terminated else INTERRUPTED

    @property
    def word(self) -> str:
        """What happened to it."""
        return "terminated" if self.terminated else "interrupted"

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal; the first one counts, so that the tidying up is not interrupted in turn."""
        del number, frame
        if not self.terminated:
            self.terminated = True
            raise KeyboardInterrupt


@contextmanager
def terminable() -> Iterator[Stop]:
    """Turn SIGTERM into a KeyboardInterrupt while the block runs.

    Nothing is changed outside of the main thread, or where somebody else handles or ignores the signal.
    """
    stop = Stop()
    free = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if free:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        if free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
