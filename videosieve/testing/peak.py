"""The most memory that this process has held since its program began."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_resident_gib() -> float:
    """Peak resident memory, GiB.

    Linux tells it per program. What `getrusage` says of a child begins with the memory of the parent that started it,
    and a test suite is a large parent; it stands in where there is no /proc.
    """
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
