"""Timing by turns, memory in a fresh process, and what the machine is."""

import os
import platform
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def time_by_turns(
    calls: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    warm_up: bool = True,
) -> dict[str, float]:
    """Median milliseconds of every call, taken by turns so that a busy moment of the machine falls on all of them.

    With `time.process_time` as clock, on one thread, the time that other processes take does not count. Calls of many
    seconds may do without the turn that warms up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + warm_up):
        for name, call in calls.items():
            start = clock()
            call()
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return {name: 1e3 * median(values) for name, values in seconds.items()}


def peak_extra_memory(call: Callable[[], object]) -> float:
    """MiB that a call holds at its peak beyond its inputs, output included, as PyTorch's allocator counts them."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the profiler writes to the table's terminal
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        output = call()
    profiler: Any = recorded.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    del output
    return max(held, default=0) / 2**20


def describe_machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
