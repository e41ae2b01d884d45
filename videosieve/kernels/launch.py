"""Launch tables: which tile, how many warps and stages a kernel gets on an architecture.

Every op with Triton kernels has a `launch.py` that holds its rows as data, written by
`python -m benchmarks.tune_launch` where there is a GPU. Nothing is tuned while a model runs: the same call always runs
the same kernel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from videosieve.errors import BackendError

# Shared memory that one thread block may use, bytes (CUDA programming guide, table of compute capabilities).
SHARED_MEMORY = {80: 166912, 86: 101376, 90: 232448, 100: 232448, 120: 101376}

# What every launch passes to the compiler: a·b + c in one rounding, as Triton did by default up to 3.9.
COMPILER_OPTIONS: dict[str, Any] = {"enable_fp_fusion": True}


@dataclass(frozen=True, slots=True)
class Launch:
    """How one kernel is launched.

    Attributes:
        tile: Sides of the piece of work of one program; what they mean is the op's.
        num_warps: Warps per program, a power of two.
        num_stages: Depth of the software pipeline of the main loop.
    """

    tile: tuple[int, ...]
    num_warps: int
    num_stages: int

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `kernel[grid](…)` besides the kernel's own."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, **COMPILER_OPTIONS}


class LaunchTable:
    """Rows of one op.

    Args:
        op: Name of the op, for messages.
        source: Where the rows come from: measured on which device with which versions, or reasoned.
        rows: (architecture, *key) → launch. What the key is made of is the op's, e.g. (head_dim, bytes per value).
    """

    def __init__(self, op: str, source: str, rows: Mapping[tuple[int, ...], Launch]) -> None:
        self.op = op
        self.source = source
        self.rows = dict(rows)

    def __iter__(self) -> Iterator[tuple[int, tuple[int, ...], Launch]]:
        """(architecture, key, launch) of every row."""
        return ((row[0], row[1:], launch) for row, launch in self.rows.items())

    def knows(self, arch: int, *key: int) -> bool:
        """Whether `find` would find a row."""
        return bool(self._architectures(arch, key))

    def find(self, arch: int, *key: int) -> Launch:
        """The row of the newest architecture in the table that is not newer than the device.

        Args:
            arch: Compute capability of the device, as `triton_support.architecture` counts.
            *key: The rest of the row's name.

        Returns:
            The launch.

        Raises:
            BackendError: No row fits.
        """
        able = self._architectures(arch, key)
        if not able:
            known = sorted({row[1:] for row in self.rows if row[0] <= arch})
            raise BackendError(f"{self.op} has no launch for sm{arch} and {key}; there are {known}")
        return self.rows[(max(able), *key)]

    def _architectures(self, arch: int, key: tuple[int, ...]) -> list[int]:
        return [row[0] for row in self.rows if row[0] <= arch and row[1:] == key]
