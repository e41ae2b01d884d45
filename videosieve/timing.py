"""Milliseconds of a piece of work, by the clock of the device that does it."""

import time
from collections.abc import Callable

import torch


def start_timer(device: torch.device) -> Callable[[], Callable[[], float]]:
    """Start timing; the result stops the clock and hands back a reader of the milliseconds."""
    if device.type != "cuda":
        start = time.perf_counter()

        def stop() -> Callable[[], float]:
            elapsed = (time.perf_counter() - start) * 1e3
            return lambda: elapsed

        return stop
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()

    def stop_cuda() -> Callable[[], float]:
        last.record()

        def read() -> float:
            last.synchronize()
            return first.elapsed_time(last)

        return read

    return stop_cuda
