"""What one implementation makes of one call: right, refused, wrong, and in which time.

`python -m videosieve.bench.check_rows DEVICE [OP …]` prints one line of JSON per implementation and call, as soon as it
is known. `check.py` runs it as a process of its own: a kernel that ends its process, or leaves the GPU unusable, then
costs no more than the rows after it.
"""

import importlib
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from videosieve.bench.check_calls import SIZES, CheckCall, check_calls
from videosieve.bench.timing import time_by_turns
from videosieve.errors import VideosieveError
from videosieve.kernels import dense_attention
from videosieve.kernels.dense_attention import fastest
from videosieve.kernels.dispatch import Implementation
from videosieve.kernels.triton_support import installed
from videosieve.testing.kernel_inputs import KernelCall
from videosieve.testing.tolerances import assert_attention, assert_fp8_attention

REPEATS, CHECKED_ROWS = 3, 64
BAD = ("wrong", "raised", "no answer")
LONGEST = 2.0
"""Seconds of a call above which it is not repeated."""
TIMED_SECONDS = 25.0
"""After which, on a CPU that others keep busy, calls are judged and no longer timed."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One implementation and one call.

    Attributes:
        op: Name of the op.
        implementation: Its name.
        title: What is special about the call.
        dtype: Of its tensors, without "torch.".
        verdict: "right", "refused", "wrong", "raised", or "no answer" where the process ended.
        detail: The reason, one line; empty where it was right.
        ms: Median milliseconds of a call; None where it is not timed.
        dense_ms: Those of the fastest dense kernel with as many queries and keys.
        long: Whether this is the call whose time says most.
    """

    op: str
    implementation: str
    title: str
    dtype: str
    verdict: str
    detail: str = ""
    ms: float | None = None
    dense_ms: float | None = None
    long: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether something is to be mended."""
        return self.verdict in BAD


def check_all(device: str, ops: list[str]) -> None:
    """Print a row for every implementation of the ops and every call, on "cpu", "cuda" or in the "interpreter"."""
    warnings.simplefilter("ignore")  # of compilers, about themselves
    start = time.monotonic()
    for call in check_calls(SIZES[device]):
        if ops and call.op not in ops:
            continue
        place = "cuda" if device == "cuda" else "cpu"
        built = call.build(place)
        late = device == "cpu" and time.monotonic() - start > TIMED_SECONDS
        dense = None if late or device == "interpreter" else _dense_milliseconds(built, place)
        for implementation in _implementations(call.op, device):
            row = check_one(call, built, implementation, dense)
            sys.stdout.write(json.dumps(asdict(row)) + "\n")
            sys.stdout.flush()


def check_one(
    call: CheckCall, built: KernelCall, implementation: Implementation, dense_ms: float | None
) -> CheckRow:
    """Run a call, judge what it returns, time it where `dense_ms` is known."""
    name = implementation.name
    row = partial(CheckRow, call.op, name, call.title, str(call.dtype).removeprefix("torch."), long=call.long)
    start = time.perf_counter()
    try:
        result = built.run(name)
    except VideosieveError as refusal:
        return row("refused", _reason(refusal))
    except Exception as error:  # noqa: BLE001 - whatever a kernel raises is what is to be reported
        return row("raised", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    seconds = time.perf_counter() - start
    try:
        _judge(call, built, result, name)
    except Exception as wrong:  # noqa: BLE001 - a failed comparison, or one that a strange result breaks
        return row("wrong", " ".join(str(wrong).split())[:300])
    if dense_ms is None:
        return row("right")
    # Nothing is compiled for the reference at its first call, and nobody takes it for its speed.
    once = name == "reference" and _device_of(built) == "cpu"
    ms = 1e3 * seconds if once else _milliseconds(lambda: built.run(name), _device_of(built), seconds)
    return row("right", ms=ms, dense_ms=dense_ms)


def _implementations(op: str, device: str) -> list[Implementation]:
    module = importlib.import_module(f"videosieve.kernels.{op}")
    if device == "cuda":
        return list(module.IMPLEMENTATIONS)
    # On a CPU Triton's kernels run in the interpreter, where there is one, and the others outside of it.
    triton = [i for i in module.IMPLEMENTATIONS if i.name.startswith("triton")]
    if device == "interpreter":
        return triton
    return [i for i in module.IMPLEMENTATIONS if i not in triton or not installed("triton")]


def _judge(call: CheckCall, built: KernelCall, result: Any, name: str) -> None:
    if not call.long:
        built.judge(result, name)
        return
    q, k, v, mask = (built.arguments[key] for key in ("q", "k", "v", "mask"))
    rows = torch.linspace(0, q.shape[2] - 1, CHECKED_ROWS).long().to(q.device)
    output, lse, queries = (x[:, :, rows].cpu() for x in (*result, q))
    if name == "native-bf16":  # what bf16 tensors would give: the rounding is the whole difference
        output, queries, k, v = (x.bfloat16() for x in (output, queries, k, v))
    judge = assert_fp8_attention if name == "triton-fp8" else assert_attention
    judge((output, lse), queries, k.cpu(), v.cpu(), mask.rows(rows).cpu(), q.shape[-1] ** -0.5)


def _dense_milliseconds(built: KernelCall, device: str) -> float | None:
    q, k, v = (built.arguments.get(name) for name in "qkv")
    if q is None:
        source = built.arguments.get("x", None)
        if source is None and "streams" not in built.arguments:
            return None  # a table has no attention beside it
        q = built.arguments["streams"][0].q if source is None else source
    k = q if k is None else k
    v = k if v is None else v
    backend = fastest(q, k, v)
    return _milliseconds(lambda: dense_attention(q, k, v, backend=backend), device)


def _milliseconds(call: Any, device: str, first: float | None = None) -> float:
    """Median of a few calls; `first` is what one took before, in seconds, None where there was none."""

    def whole() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    if first is None or device == "cuda":  # a first call compiles
        start = time.perf_counter()
        whole()
        first = time.perf_counter() - start
    repeats = REPEATS if first < LONGEST else 1
    return time_by_turns({"call": whole}, repeats, warm_up=False)["call"]


def _device_of(built: KernelCall) -> str:
    first = next(iter(built.arguments.values()))
    return (first[0].q if isinstance(first, list) else first).device.type


def _reason(error: Exception) -> str:
    """The sentence of a refusal without the part that every one has."""
    text = " ".join(str(error).split())
    _, _, reason = text.partition(": ")
    return (reason or text).partition(". Backends that can")[0]


if __name__ == "__main__":
    with torch.no_grad():
        check_all(sys.argv[1], sys.argv[2:])
