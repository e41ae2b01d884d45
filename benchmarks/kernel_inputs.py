"""What the kernels make of inputs that nobody would give on purpose: `python -m benchmarks.kernel_inputs [--seeds N]`.

Every seed makes two inputs for every op: one that fits, its tensors anywhere in memory, and one with an argument
spoiled. Each is given to the automatic choice and to every implementation by name. Calls run in processes of their own,
a few hundred inputs at a time: one that ends early is counted as a crash, one that does not end as a hang.
"""

import argparse
import json
import subprocess
import sys
import warnings
from collections import Counter
from importlib import import_module
from random import Random

import torch

from videosieve.errors import VideosieveError
from videosieve.testing.kernel_inputs import OPS, KernelCall, draw_call
from videosieve.testing.kernel_spoils import spoil

CHUNK, SECONDS_PER_CHUNK = 25, 300
KINDS = ("inputs", "calls", "answered rightly", "refused", "answered wrongly", "raised", "crashed", "hung")


def main() -> None:
    parser = argparse.ArgumentParser(description="Give the kernels odd inputs and count what comes back.")
    parser.add_argument("--seeds", type=int, default=250, help="each makes two inputs for every op")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--op", action="append", choices=OPS, help="only this op; repeatable")
    parser.add_argument("--chunk", type=int, nargs=2, help="used inside: first and last seed of one process")
    options = parser.parse_args()
    ops = tuple(options.op or OPS)
    if options.chunk:
        with torch.no_grad():
            print(json.dumps({" | ".join(key): n for key, n in try_seeds(*options.chunk, ops).items()}))
        return
    total: Counter[tuple[str, str]] = Counter()
    last = options.first + options.seeds
    for first in range(options.first, last, CHUNK):
        total += run_chunk(first, min(first + CHUNK, last), ops)
    print("| op | " + " | ".join(KINDS) + " |\n|" + " --- |" * (1 + len(KINDS)))
    for op in (*ops, "all"):
        counts = [
            sum(n for (name, k), n in total.items() if k == kind and op in (name, "all")) for kind in KINDS
        ]
        print(f"| {op} | " + " | ".join(f"{count:,}" for count in counts) + " |")


def run_chunk(first: int, last: int, ops: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """Seeds from first to last in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.kernel_inputs", "--chunk", str(first), str(last)]
    command += [word for op in ops for word in ("--op", op)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_PER_CHUNK, check=False)
    except subprocess.TimeoutExpired:
        return Counter({("some op", "hung"): 1})
    if done.returncode:
        print(f"seeds {first} … {last}: {done.stderr[-500:]}", file=sys.stderr)
        return Counter({("some op", "crashed"): 1})
    counts = json.loads(done.stdout)
    return Counter({(key.split(" | ")[0], key.split(" | ")[1]): n for key, n in counts.items()})


def try_seeds(first: int, last: int, ops: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """What came back, counted by op and kind."""
    warnings.simplefilter("ignore")
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(first, last):
        for op in ops:
            source = Random(f"{seed} {op}")
            call = draw_call(source, op)
            counts[op, "inputs"] += 2
            counts += try_call(op, call)
            try:
                spoiled = spoil(source, call)
            except VideosieveError:
                counts[op, "calls"] += 1
                counts[op, "refused"] += 1
                continue
            counts += try_call(op, spoiled)
    return counts


def try_call(op: str, call: KernelCall) -> Counter[tuple[str, str]]:
    """One input, by the automatic choice and by every implementation."""
    counts: Counter[tuple[str, str]] = Counter()
    names = (i.name for i in import_module(f"videosieve.kernels.{op}").IMPLEMENTATIONS)
    for backend in (None, *names):
        counts[op, "calls"] += 1
        try:
            result = call.run(backend)
        except VideosieveError:
            counts[op, "refused"] += 1
            continue
        except Exception as error:  # noqa: BLE001 - what must not happen is what is counted
            counts[op, "raised"] += 1
            print(f"{call}, {backend}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        try:
            call.judge(result, backend)
            counts[op, "answered rightly"] += 1
        except AssertionError as error:
            counts[op, "answered wrongly"] += 1
            print(f"{call}, {backend}: {error}", file=sys.stderr)
    return counts


if __name__ == "__main__":
    main()
