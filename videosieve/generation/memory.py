"""Peak memory of a pipeline call: what CUDA's allocator saw, or by how much the resident set of the process grew.

The two do not compare. On CUDA it is the most that was allocated at a time, weights included. On a CPU it is the
highest resident set during the call (VmHWM, which Linux lets a process set back) minus the resident set just before, so
weights are left out, and pages that a library keeps for later count where they are first touched. Memory that was freed
but not handed back is given to the system first (glibc's malloc_trim), or a second call would seem to need nothing.
"""

import ctypes
import gc
from pathlib import Path
from types import TracebackType

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # "write 5 to reset the peak resident set size", proc_pid_clear_refs(5)


class PeakMemory:
    """Peak memory while the block runs; a context manager.

    Attributes:
        bytes: The peak, see above; None before the block ends and where the system does not tell.

    Args:
        device: Where the pipeline computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes: int | None = None
        self._device = device
        self._before: int | None = None

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._before = _forget_peak()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        elif self._before is not None:
            self.bytes = max(_resident("VmHWM") - self._before, 0)


def _forget_peak() -> int | None:
    """Set the peak back to what is resident now, and say how much that is; None where the system cannot."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        _RESET.write_text(_RESET_PEAK)
        return _resident("VmRSS")
    except OSError:
        return None


def _resident(key: str) -> int:
    """A line of /proc/self/status, bytes."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise OSError(f"{_STATUS} has no {key}")
