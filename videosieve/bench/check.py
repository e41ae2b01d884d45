"""Whether every kernel is right on this machine: `videosieve doctor --check`.

The rows are made in processes of their own, one per op on a GPU: a kernel that ends its process, or leaves the GPU
unusable, costs the rows of its op and no others, and says so.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from videosieve.bench.check_rows import BAD, CheckRow
from videosieve.bench.timing import describe_machine
from videosieve.kernels.triton_support import installed
from videosieve.testing.kernel_inputs import OPS
from videosieve.version import __version__

MODULE = "videosieve.bench.check_rows"
SECONDS = {"cpu": 120.0, "interpreter": 120.0, "cuda": 150.0}
"""After which a process is ended: several times what it takes on a slow machine."""


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        device: "cpu" or "cuda".
        machine: What the figures depend on.
        rows: One per implementation and call.
        seconds: Of the whole check.
    """

    device: str
    machine: dict[str, object]
    rows: list[CheckRow]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether nothing was wrong, and something was right."""
        return not self.count(*BAD) and self.count("right") > 0

    def count(self, *verdicts: str) -> int:
        """Rows with one of the verdicts."""
        return sum(row.verdict in verdicts for row in self.rows)

    def by_implementation(self) -> dict[tuple[str, str], list[CheckRow]]:
        """Rows of every (op, implementation), op by op."""
        names = sorted(dict.fromkeys((row.op, row.implementation) for row in self.rows), key=self._first_of)
        return {name: [row for row in self.rows if (row.op, row.implementation) == name] for name in names}

    def _first_of(self, name: tuple[str, str]) -> tuple[int, int]:
        """Where its op is met first, and there the order in which implementations come."""
        ops = [row.op for row in self.rows]
        return ops.index(name[0]), [(row.op, row.implementation) for row in self.rows].index(name)

    def verdict(self) -> str:
        """One line."""
        counts = f"{self.count('right')} right, {self.count('refused')} refused, {self.count(*BAD)} not right"
        return (
            f"{'right' if self.is_right else 'NOT RIGHT'}: {counts}; on {self.device} in {self.seconds:.0f} s"
        )

    def to_json(self) -> str:
        """Everything, to attach to a report."""
        rows = [asdict(row) for row in self.rows]
        report = {
            "schema": 1,
            "verdict": self.verdict(),
            "device": self.device,
            "machine": self.machine,
            "rows": rows,
        }
        return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def check_kernels(device: str | None = None, progress: Callable[[str], None] = lambda _: None) -> CheckReport:
    """Every op, every implementation, a dozen calls, against fp64, with the time of the fastest dense kernel beside it.

    On a CPU the Triton kernels run as well, in Triton's interpreter.

    Args:
        device: "cpu" or "cuda"; None takes CUDA where it is.
        progress: Told what is being done.

    Returns:
        The report.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    start = time.monotonic()
    rows: list[CheckRow] = []
    for place, ops in _processes(device):
        for row in _rows(place, ops):
            rows.append(row)
            progress(f"{row.op} / {row.implementation}: {row.title}")
    return CheckReport(device, _machine(device), rows, time.monotonic() - start)


def _processes(device: str) -> list[tuple[str, tuple[str, ...]]]:
    if device == "cuda":
        return [("cuda", (op,)) for op in OPS]
    return [("cpu", ()), *([("interpreter", ())] if installed("triton") else [])]


def _rows(place: str, ops: Sequence[str]) -> Iterator[CheckRow]:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    if place == "interpreter":
        environment["TRITON_INTERPRET"] = "1"  # decides once, before Triton is imported
    command = [sys.executable, "-m", MODULE, place, *ops]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment
    ) as child:
        timer = threading.Timer(SECONDS[place], child.kill)
        timer.start()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
        reader.start()
        for line in child.stdout or ():
            yield CheckRow(**json.loads(line))
        code = child.wait()
        timer.cancel()
        reader.join()
    if code:
        yield CheckRow(
            ", ".join(ops) or "every op", place, "the process", "", "no answer", _end(code, errors)
        )


def _end(code: int, errors: list[str]) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    said = " ".join(" ".join(errors).split())[-300:]
    return f"the process {how}{': ' * bool(said)}{said}"


def _machine(device: str) -> dict[str, object]:
    gpu: dict[str, object] = {}
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        gpu = {"gpu": torch.cuda.get_device_name(), "arch": f"sm{major}{minor}", "cuda": torch.version.cuda}
    return {"videosieve": __version__, **gpu, **describe_machine()}
