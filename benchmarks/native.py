"""The native CPU kernel against PyTorch's dense kernel: `python -m benchmarks.native [options]`.

Every row times, by turns in one run, `scaled_dot_product_attention`, the native kernel and the implementation from
PyTorch operations; the output is checked against fp64 on sampled rows first. "of 1/density" is speed-up × density: 1
means that skipping is free, more that the kernel is also faster per pair. Rates are held against the multiply–add rate
that the same threads reach in registers. `--cpu-time` counts the processor time of one thread, for
machines that others use. `--linear FILE` draws cost against density × tokens² × heads and stops.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.cases import Case, Shape
from benchmarks.flex import time_flex
from benchmarks.run import check_rows
from benchmarks.timing import describe_machine, time_by_turns
from videosieve.block_mask import BlockMask, BlockSize
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.native_library import load
from videosieve.layout import VideoLayout
from videosieve.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_ragged_mask

RESULTS = Path(__file__).parent / "results" / "native.json"
PATTERNS = (("band", 128), ("band", 64), ("random per head", 128), ("random per head", 64), ("ragged", 128))
Row = dict[str, Any]


def main() -> None:
    options = parse()
    shapes = [
        Shape(f"{tokens} × {heads} × {head_dim}", VideoLayout.of(1, 1, tokens), heads, head_dim)
        for tokens, heads, head_dim in product(options.tokens, options.heads, options.head_dim)
    ]
    console = Console()
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.cpu_time:
        torch.set_num_threads(1)
    peak = measure_peak(clock)
    with torch.inference_mode():
        if options.linear:
            draw_linear(options.linear, clock)
            return
        rows = [
            time_row(shape, pattern, density, options, clock)
            for shape in shapes
            for pattern, density in patterns(options.density)
        ]
    for row in rows:
        row["of_peak"] = row["gflops"] / peak
    machine = {
        **describe_machine(),
        "clock": clock.__name__,
        "peak_gflops": peak,
        "instruction_set": load().instruction_sets[0],
    }
    print_rows(console, machine, rows)
    options.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the native CPU kernel.")
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096])
    parser.add_argument("--heads", type=int, nargs="+", default=[4])
    parser.add_argument("--head-dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--density", type=float, nargs="+", default=[1.0, 0.5, 0.25, 0.1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="processor time of one thread")
    parser.add_argument("--flex", action="store_true", help="compiled flex_attention as well; slow to start")
    parser.add_argument("--linear", type=Path, help="draw cost against work into this SVG file and stop")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    return parser.parse_args()


def patterns(densities: list[float]) -> list[tuple[tuple[str, int], float]]:
    """Density 1 once, every pattern at the others."""
    sparse = [(pattern, density) for density in densities if density < 1 for pattern in PATTERNS]
    return [(("dense", 128), 1.0)] * (1.0 in densities) + sparse


def make_mask(shape: Shape, pattern: str, side: int, density: float) -> BlockMask | RaggedBlockMask:
    tokens = shape.tokens
    if pattern == "dense":
        return BlockMask.dense(tokens, BlockSize(side, side))
    if pattern == "ragged":  # blocks of `side` tokens on average, cut at random
        return random_ragged_mask(
            tokens, tokens, (tokens // side, tokens // side), density, heads=shape.heads
        )
    return Case(shape, "band" if pattern == "band" else "random per head", side, density).make_mask()


def time_row(
    shape: Shape,
    pattern: tuple[str, int],
    density: float,
    options: argparse.Namespace,
    clock: Callable[[], float],
) -> Row:
    """One mask on one shape, checked, then timed."""
    mask = make_mask(shape, *pattern, density)
    tokens, ragged = shape.tokens, isinstance(mask, RaggedBlockMask)
    q, k, v = make_qkv(tokens, tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True)
    check(q, k, v, mask)
    calls = {
        "dense": partial(scaled_dot_product_attention, q, k, v),
        "native": partial(block_sparse_attention, q, k, v, mask, backend="native"),
    }
    if not ragged:
        calls["operations"] = partial(block_sparse_attention, q, k, v, mask, backend="cpu")
    times = time_by_turns(calls, options.repeats, clock)
    flex = None
    if options.flex and not ragged and pattern[0] != "dense":
        name = "band" if pattern[0] == "band" else "random per head"
        flex = time_flex(Case(shape, name, pattern[1], density), options.repeats)
    operations = 4 * mask.density * tokens**2 * shape.heads * shape.head_dim
    return {
        "shape": shape.name,
        "mask": pattern[0] if pattern[0] == "dense" else f"{pattern[0]}, {pattern[1]}",
        "density": mask.density,
        "dense_ms": times["dense"],
        "native_ms": times["native"],
        "operations_ms": times.get("operations"),
        "flex_ms": flex,
        "speedup": times["dense"] / times["native"],
        "of_ideal": times["dense"] / times["native"] * mask.density,
        "gflops": operations / times["native"] / 1e6,
    }


def check(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask) -> None:
    """Raise an AssertionError unless sampled rows of the native kernel agree with fp64."""
    output, lse = block_sparse_attention(q[:, :2], k[:, :2], v[:, :2], two_heads(mask), backend="native")
    check_rows(output, lse, (q[:, :2], k[:, :2], v[:, :2]), two_heads(mask))


def two_heads(mask: BlockMask | RaggedBlockMask) -> Any:
    """The mask of the first two heads."""
    if isinstance(mask, BlockMask):
        return BlockMask(mask.keep[:, :2], mask.block, mask.queries, mask.keys)
    offsets = mask.query_offsets[:, :2], mask.key_offsets[:, :2]
    return RaggedBlockMask(mask.keep[:, :2], *offsets, mask.queries, mask.keys)


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


def draw_linear(path: Path, clock: Callable[[], float]) -> None:
    """Milliseconds of the native kernel against density × tokens² × heads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for tokens, heads in ((2048, 4), (4096, 1), (4096, 4), (8192, 1)):
        shape = Shape("", VideoLayout.of(1, 1, tokens), heads, 64)
        q, k, v = make_qkv(tokens, tokens, heads=heads, head_dim=64, contiguous=True)
        masks = [make_mask(shape, "random per head", 64, density) for density in (0.05, 0.1, 0.25, 0.5, 0.75)]
        calls = {str(mask.density): partial(block_sparse_attention, q, k, v, mask) for mask in masks}
        times = time_by_turns(calls, 3, clock)
        pairs = [float(density) * tokens**2 * heads / 1e6 for density in times]
        axes.plot(pairs, list(times.values()), "o-", label=f"{tokens} tokens × {heads} heads")
        rates = [ms / million for ms, million in zip(times.values(), pairs, strict=True)]
        print(f"{tokens} × {heads}:", *(f"{rate:.2f}" for rate in rates), "ms per million pairs")
    axes.set(xlabel="kept query–key pairs, millions", ylabel="native kernel, ms", xlim=0, ylim=0)
    axes.set_title("Random 64-blocks, head_dim 64, fp32", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path)


def print_rows(console: Console, machine: dict[str, object], rows: list[Row]) -> None:
    """The machine and the table."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    names = [
        "tokens × heads × head_dim",
        "mask",
        "density",
        "dense ms",
        "native ms",
        "operations ms",
        "flex ms",
    ]
    table = Table(*names, "speed-up", "of 1/density", "of peak")
    for row in rows:
        optional = ["" if row[key] is None else f"{row[key]:.1f}" for key in ("operations_ms", "flex_ms")]
        table.add_row(
            row["shape"],
            row["mask"],
            f"{row['density']:.3f}",
            f"{row['dense_ms']:.1f}",
            f"{row['native_ms']:.1f}",
            *optional,
            f"{row['speedup']:.2f}",
            f"{row['of_ideal']:.2f}",
            f"{row['of_peak']:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
