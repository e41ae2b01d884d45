"""Milliseconds of a piece of work, by the clock of the device that does it."""

import time
from collections.abc import Callable

import torch

Reading = float | Callable[[], float]
"""Milliseconds: known, or to be asked for once the device has done the work."""


def start_timer(device: torch.device) -> Callable[[], Reading]:
    """Start timing; the result stops the clock and hands back the milliseconds, or who will know them."""
    if device.type != "cuda":
        start = time.perf_counter()
        return lambda: (time.perf_counter() - start) * 1e3
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()

    def stop_cuda() -> Callable[[], float]:
        last.record()

        def read() -> float:
            last.synchronize()
            return first.elapsed_time(last)

        return read

    return stop_cuda


def milliseconds_of(reading: Reading) -> float:
    """The milliseconds of a stopped timer; waits for the device where they are not known yet."""
    return reading() if callable(reading) else reading
