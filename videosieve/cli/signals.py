"""Ctrl-C and SIGTERM end a verb alike: it says at once what it will finish first, keeps it, and workers end too."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes, as shells and schedulers count them."""

FIRST = {
    "compare": "writing results.json and the page of what is finished",
    "sweep": "writing results.json and the page of what is finished",
    "tune": "closing the journal; every finished measurement is in it",
    "batch": "ending the workers; finished videos stay",
    "shapes": "keeping what is judged",
}
"""What a verb finishes before it ends; the others have nothing to finish."""


class Stop:
    """Whether a signal to end came.

    Attributes:
        terminated: True from SIGTERM on.
        interrupted: True from Ctrl-C on.
        first: What is finished before the end; empty where there is nothing.
    """

    def __init__(self, first: str = "") -> None:
        self.terminated = False
        self.interrupted = False
        self.first = first

    @property
    def code(self) -> int:
        """The exit code of what was interrupted."""
        return TERMINATED if self.terminated else INTERRUPTED

    @property
    def word(self) -> str:
        """What happened to it."""
        return "terminated" if self.terminated else "interrupted"

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; of SIGTERM the first one counts, so that the tidying up is not interrupted in turn."""
        del frame
        if number == signal.SIGTERM:
            if self.terminated:
                return
            self.terminated = True
        elif self.interrupted:
            raise KeyboardInterrupt  # whoever asks twice does not want to wait
        self.interrupted = True
        if self.first:
            again = "" if self.terminated else "; Ctrl-C again ends at once"
            os.write(2, f"\nstopping: {self.first}{again}\n".encode())  # print is not safe inside a handler
        raise KeyboardInterrupt


@contextmanager
def terminable(verb: str | None = None) -> Iterator[Stop]:
    """Turn SIGTERM into a KeyboardInterrupt while the block runs, and answer Ctrl-C at once.

    Nothing is changed outside of the main thread, or where somebody else handles or ignores a signal.

    Args:
        verb: The verb that runs.
    """
    stop = Stop(FIRST.get(verb or "", ""))
    before = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    main = threading.current_thread() is threading.main_thread()
    free = [number for number, usual in before.items() if main and signal.getsignal(number) is usual]
    for number in free:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number in free:
            signal.signal(number, before[number])
