"""One forward at a time: a second thread waits until the forward before it is through.

What holds for a forward (its layout, its identity) stands in one place per transformer while it runs.
"""

from threading import Condition, get_ident

from videosieve.integrations.diffusers.clock.stacks import callers, execution, find_execution

_PATIENCE = 0.2
"""Seconds between two looks whether the thread that is waited for still runs its forward."""


class Turn:
    """Who is inside the forward of one transformer."""

    def __init__(self) -> None:
        self._free = Condition()
        self._thread = 0
        self._caller: object = None
        self._place = 0

    def take(self) -> None:
        """Enter; waits for a forward of another thread. A forward that ended in an error has left silently."""
        with self._free:
            while self._is_taken():
                self._free.wait(_PATIENCE)
            # Whoever called the model stands on its thread's stack while the forward runs.
            frame = next(callers(), None)
            self._thread, self._caller = get_ident(), execution(frame)
            self._place = -1 if frame is None else frame.f_lasti

    def leave(self) -> None:
        """The forward is through."""
        with self._free:
            if self._thread == get_ident():
                self._thread = 0
            self._free.notify_all()

    def _is_taken(self) -> bool:
        if self._thread in (0, get_ident()):
            return False
        frame = find_execution(self._thread, self._caller)
        # A loop that caught the error of its forward is elsewhere in its code, or runs another forward of its own.
        return frame is not None and frame.f_lasti == self._place
