"""The native CPU kernel against PyTorch's dense kernel: the second table of `videosieve bench`.

Every row times, by turns in one run, `scaled_dot_product_attention`, the native kernel and the implementation from
PyTorch operations; the output is checked against fp64 on sampled rows first. "of 1/density" is speed-up × density: 1
means that skipping is free, more that the kernel is also faster per pair. Rates are held against the multiply–add
rate that the same threads reach in registers. After all rows comes a summary by shape, as Markdown. `--all` takes
every size, `--minutes` stops before a row that would not end in time, and `--resume` goes on with the rows that the
file does not have. `--cpu-time` counts the processor time of one thread, for machines that others use. `--linear
FILE` draws cost against density × tokens² × heads and stops, `--bf16` compares bf16 with fp32 and stops.
"""

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from videosieve.bench.cases import Shape
from videosieve.bench.native_bf16 import bf16_table
from videosieve.bench.native_rows import Job, Row, jobs, time_flex_of, time_linear, time_row
from videosieve.bench.native_summary import summary
from videosieve.bench.timing import describe_machine
from videosieve.files import write_text
from videosieve.kernels.native_library import load
from videosieve.kernels.native_threads import describe_threads
from videosieve.layout import VideoLayout

ALL = {"tokens": [4096, 8192, 32768], "heads": [4, 24], "flex": True}


def main(arguments: Sequence[str] | None = None, output: Path | None = None) -> None:
    """Time the native kernel and print its tables.

    Args:
        arguments: Of a command line; those of the process where left out. `--help` names them.
        output: JSON file to write where no `--output` names one; None writes none.
    """
    options = parse(arguments, output)
    shapes = [
        Shape(f"{tokens} × {heads} × {head_dim}", VideoLayout.of(1, 1, tokens), heads, head_dim)
        for tokens, heads, head_dim in product(options.tokens, options.heads, options.head_dim)
    ]
    console = Console(width=None if os.isatty(1) else 140)
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.cpu_time:
        torch.set_num_threads(1)
    if options.linear:
        draw_linear(options.linear, time_linear(clock))
        return
    if options.bf16:
        console.print(bf16_table(shapes, options.repeats, clock), soft_wrap=True)
        return
    peak = measure_peak(clock)
    machine = {
        **describe_machine(),
        "clock": clock.__name__,
        "peak_gflops": peak,
        "instruction_set": load().instruction_sets[0],
        "runs": describe_threads(),
    }
    work = jobs(shapes, options.density, options.flex)
    total = sum(job.seconds(peak, options.repeats) for job in work)
    console.print(f"{len(work)} jobs, a guess of {total / 60:.0f} minutes at {peak:.0f} GFLOP/s")
    if options.estimate:
        return
    rows = run(work, machine, options, clock)
    machine["peak_gflops"] = max(peak, measure_peak(clock))  # once more: the first may have met another job
    write(options.output, machine, rows)
    print_rows(console, machine, rows)
    console.print(summary(rows, machine), soft_wrap=True)


def parse(arguments: Sequence[str] | None = None, output: Path | None = None) -> argparse.Namespace:
    """The options of `main`."""
    parser = argparse.ArgumentParser(description="Time the native CPU kernel.")
    parser.add_argument(
        "--all", action="store_true", help="every size: 4k, 8k, 32k tokens, 4 and 24 heads, flex"
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096])
    parser.add_argument("--heads", type=int, nargs="+", default=[4])
    parser.add_argument("--head-dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--density", type=float, nargs="+", default=[1.0, 0.5, 0.25, 0.1])
    parser.add_argument(
        "--repeats", type=int, default=3, help="most repeats of a call; long calls have fewer"
    )
    parser.add_argument("--minutes", type=float, help="leave out rows that would end later than this")
    parser.add_argument(
        "--resume", action="store_true", help="keep the rows of the output file and add the others"
    )
    parser.add_argument("--estimate", action="store_true", help="say how long it would take and stop")
    parser.add_argument("--cpu-time", action="store_true", help="processor time of one thread")
    parser.add_argument("--flex", action="store_true", help="compiled flex_attention as well; slow to start")
    parser.add_argument("--bf16", action="store_true", help="what bf16 brings: one table of a few masks")
    parser.add_argument("--linear", type=Path, help="draw cost against work into this SVG file and stop")
    parser.add_argument("--output", type=Path, default=output, help="JSON file to write")
    options = parser.parse_args(arguments)
    if options.all:
        vars(options).update(ALL)
    return options


@torch.inference_mode()
def run(
    work: list[Job], machine: dict[str, object], options: argparse.Namespace, clock: Callable[[], float]
) -> list[Row]:
    """All jobs that fit into the time; the file is whole after each."""
    start, peak = time.monotonic(), float(str(machine["peak_gflops"]))
    resumed: Path | None = options.output if options.resume else None
    rows: list[Row] = (
        json.loads(resumed.read_text())["rows"] if resumed is not None and resumed.exists() else []
    )
    done = {(row["shape"], row["mask"], row["asked"]): row for row in rows}
    dense: dict[Shape, float] = {}
    for number, job in enumerate(work, start=1):
        row, expected = done.get(job.key), job.seconds(peak, options.repeats)
        if row is not None and (not job.flex or row["flex_ms"] is not None):
            continue
        if options.minutes and time.monotonic() - start + expected > 60 * options.minutes:
            continue
        if not job.flex:
            done[job.key] = time_row(job, peak, options.repeats, clock, dense)
        elif row is not None:
            row["flex_ms"] = time_flex_of(job, options.repeats)
        write(options.output, machine, list(done.values()))
        now = done.get(job.key, {})
        sys.stdout.write(
            f"{number}/{len(work)} {(time.monotonic() - start) / 60:.1f} min: {job.key}, flex {now.get('flex_ms')}, "
            f"of 1/density {now.get('of_ideal', 0):.2f}\n"
        )
        sys.stdout.flush()
    return list(done.values())


def write(path: Path | None, machine: dict[str, object], rows: list[Row]) -> None:
    """Replace the file, so that it is whole at every moment; without a path write nothing."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def measure_peak(clock: Callable[[], float], rounds: int = 3_000_000, repeats: int = 5) -> float:
    """Highest multiply–add rate of all threads together, in registers, GFLOP/s."""
    function = load().handle.videosieve_multiply_adds
    function.restype = ctypes.c_char_p

    def run(_: int) -> int:
        operations = ctypes.c_int64()
        function(ctypes.c_int64(rounds), ctypes.byref(operations), ctypes.c_int32(0))
        return 2 * operations.value

    threads = torch.get_num_threads()
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = clock()
            operations = sum(pool.map(run, range(threads)))
            best = max(best, operations / (clock() - start) / 1e9)
    return best


def draw_linear(path: Path, lines: dict[str, list[tuple[float, float]]]) -> None:
    """Milliseconds of the native kernel against density × tokens² × heads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name)
        rates = (f"{milliseconds / pairs:.2f}" for pairs, milliseconds in points)
        sys.stdout.write(f"{name}: {' '.join(rates)} ms per million pairs\n")
    axes.set(xlabel="kept query–key pairs, millions", ylabel="native kernel, ms", xlim=0, ylim=0)
    axes.set_title("Random 64-blocks, head_dim 64, fp32", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path)


def print_rows(console: Console, machine: dict[str, object], rows: list[Row]) -> None:
    """The machine and the table; a dense time in brackets was taken in another row of the run."""
    peak = float(str(machine["peak_gflops"]))
    told = {**machine, "peak_gflops": round(peak)}
    console.print(", ".join(f"{name} {value}" for name, value in told.items()))
    titles = {"torch\nops, ms": "operations_ms", "flex\nms": "flex_ms"}
    optional = {title: key for title, key in titles.items() if any(row[key] is not None for row in rows)}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("shape and mask", min_width=21)
    for title in (
        "density",
        "dense\nms",
        "native\nms",
        *optional,
        "speed-\nup",
        "of 1/\ndensity",
        "of\npeak",
    ):
        table.add_column(title, justify="right")
    shape = ""
    for row in rows:
        if row["shape"] != shape:
            shape = row["shape"]
            table.add_row(f"[bold]{shape}[/bold]")
        table.add_row(*_cells(row, list(optional.values()), peak))
    console.print(table)


def _cells(row: Row, optional: list[str], peak: float) -> list[str]:
    dense = f"{row['dense_ms']:.1f}"
    others = ("" if row[key] is None else f"{row[key]:.1f}" for key in optional)
    return [
        f"  {row['mask']}",
        f"{row['density']:.3f}",
        f"({dense})" if row["dense_of_another_row"] else dense,
        f"{row['native_ms']:.1f}",
        *others,
        f"{row['speedup']:.2f}",
        f"{row['of_ideal']:.2f}",
        f"{row['gflops'] / peak:.2f}",
    ]
