"""Timing on a GPU: events, calls by turns, inputs that rotate so that none is found in the cache."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

CACHE_BYTES = 128 << 20  # more than the L2 of any GPU there is: B200 has 126 MB
Call = Callable[[int], object]


def copies_beyond_cache(*tensors: Tensor) -> int:
    """How many sets of these tensors to rotate so that the first has left the cache when its turn comes again."""
    size = sum(x.numel() * x.element_size() for x in tensors)
    return 1 + -(-CACHE_BYTES // size)


def rotate(count: int, make: Callable[[], Any]) -> list[Any]:
    """That many sets of inputs."""
    return [make() for _ in range(count)]


def time_calls(calls: Mapping[str, Call], repeats: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of every call.

    Args:
        calls: Each takes the number of its turn, by which it picks its inputs.
        repeats: Timed turns; all calls take one after another, so that clocks and heat fall on all of them.
        device: CUDA, or CPU for a dry run.

    Returns:
        Milliseconds by name.
    """
    for call in calls.values():
        call(0)  # compiles and warms up
    if device.type != "cuda":
        return {name: median(_wall(call, turn) for turn in range(repeats)) for name, call in calls.items()}
    events: dict[str, list[Sequence[torch.cuda.Event]]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name, call in calls.items():
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call(turn)
            last.record()
            events[name].append((first, last))
    torch.cuda.synchronize(device)
    return {name: median(first.elapsed_time(last) for first, last in pairs) for name, pairs in events.items()}


def describe_device(device: torch.device) -> dict[str, str]:
    """What the numbers depend on."""
    import triton

    versions = {"torch": torch.__version__, "triton": triton.__version__}
    if device.type != "cuda":
        return {"device": "cpu (dry run: nothing below is a measurement)", **versions}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": f"{properties.name}, sm{properties.major}{properties.minor}, {properties.multi_processor_count} SMs, "
        f"{properties.total_memory / 2**30:.0f} GiB",
        "cuda": str(torch.version.cuda),
        **versions,
    }


def _wall(call: Call, turn: int) -> float:
    start = time.perf_counter()
    call(turn)
    return (time.perf_counter() - start) * 1e3
