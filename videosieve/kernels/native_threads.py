"""Whose threads the native kernels run in: those of torch's OpenMP team, or their own.

torch's workers spin for a while after every operation. Threads that a call starts beside them wait for a core until
they sleep; the same workers are there at once. So the library gets the address of `GOMP_parallel` in the very runtime
that torch is linked to (libgomp; LLVM's and Intel's libomp have it too where they stand in for it). Where torch has no
such runtime, or the process was forked and torch's workers did not come along, a call starts threads of its own.
"""

import ctypes
import os
from functools import cache
from pathlib import Path

import torch

SWITCH = "VIDEOSIEVE_THREADS"
PROCESS = os.getpid()
ENTRY = "GOMP_parallel"


def team() -> int | None:
    """Address of the function that runs work in torch's OpenMP team; None where calls start threads of their own."""
    return None if refuse_team() else _find()


def refuse_team() -> str | None:
    """Why calls start threads of their own, or None."""
    if os.environ.get(SWITCH, "").lower() == "own":
        return f"the environment variable {SWITCH} asks for them"
    if os.getpid() != PROCESS:
        return "this process was forked, and the threads of torch's team stayed behind"
    return None if _find() else f"the OpenMP runtime of this torch has no {ENTRY}"


def describe_threads() -> str:
    """Whose threads the kernels run in and why, as half a sentence."""
    reason = refuse_team()
    return (
        f"in threads of their own, because {reason}" if reason else f"in torch's OpenMP team ({_runtime()})"
    )


@cache
def _find() -> int | None:
    if "parallel backend: OpenMP" not in torch.__config__.parallel_info() or not hasattr(os, "RTLD_NOLOAD"):
        return None
    try:
        # A look-up in a library goes on to those that it was linked to, nearest first: other copies of the runtime,
        # which compiled code and other packages bring along, are not met.
        linked = ctypes.CDLL(torch._C.__file__, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)  # pyright: ignore[reportPrivateUsage]
        return ctypes.cast(getattr(linked, ENTRY), ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def _runtime() -> str:
    """File name of the library that holds the function; its name alone where the system does not tell."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else []:
        first, last = (int(edge, 16) for edge in line.split(maxsplit=1)[0].split("-"))
        if first <= (_find() or 0) < last:
            return Path(line.split(maxsplit=5)[-1]).name
    return ENTRY
