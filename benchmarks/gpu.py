"""Time the GPU kernels against the fastest dense one: `python -m benchmarks.gpu [--dry-run] [--step] [--output FILE]`.

Every kernel is first checked against fp64 on sampled rows; a wrong one is not timed and its row says so. Times are
medians of turns that all kernels of a table take one after another, over inputs that have left the cache. `--step` adds
the real-size HunyuanVideo transformer with random weights. `--dry-run` runs all of it on CPU at toy sizes.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_cases import (
    DENSITIES,
    DRY_DENSITIES,
    DRY_SHAPES,
    DRY_SIDES,
    SHAPES,
    SIDES,
    make_inputs,
)
from benchmarks.gpu_ops import time_ops
from benchmarks.gpu_timing import copies_beyond_cache, describe_device, rotate, time_calls
from videosieve.bench.cases import Case, Shape
from videosieve.errors import BackendError
from videosieve.kernels import block_sparse_attention, dense_attention
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS as SPARSE
from videosieve.kernels.block_sparse_attention.fp8 import reference as fp8
from videosieve.kernels.dense_attention import IMPLEMENTATIONS as DENSE
from videosieve.masks.block_mask import BlockMask
from videosieve.testing.tolerances import assert_attention

RESULTS = Path(__file__).parent / "results" / "gpu.json"
CHECKED_ROWS = 48
TERA = 1e12
NEVER_TIMED = ("reference", "native-bf16")  # a CPU's, and it rounds: not the answer to these inputs
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the GPU kernels against the fastest dense one.")
    parser.add_argument("--dry-run", action="store_true", help="on CPU, at toy sizes; measures nothing")
    parser.add_argument("--step", action="store_true", help="the real-size HunyuanVideo transformer as well")
    parser.add_argument("--repeats", type=int, default=9, help="timed turns per table, >= 1; default: 9")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args(arguments)
    if not options.dry_run and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is visible; --dry-run runs the same code on CPU at toy sizes")
    device = torch.device("cpu" if options.dry_run else "cuda")
    console = Console(width=None if sys.stdout.isatty() else 140)
    results: dict[str, Any] = {"machine": describe_device(device), "attention": [], "ops": []}
    console.print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    with torch.inference_mode():
        for shape in DRY_SHAPES if options.dry_run else SHAPES:
            rows = time_attention(shape, device, options.repeats)
            results["attention"] += rows
            print_rows(console, f"Attention, {shape.name}: milliseconds per call", rows)
            rows = time_ops(shape, device, options.repeats, rows)
            results["ops"] += rows
            print_rows(console, f"Around attention, {shape.name}: milliseconds per call", rows)
        if options.step:
            from benchmarks.gpu_step import time_step

            results["step"] = time_step(device, dry_run=options.dry_run)
            print_rows(console, "One denoising step of HunyuanVideo, random weights", results["step"])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    console.print(f"written to {options.output}")


def time_attention(shape: Shape, device: torch.device, repeats: int) -> list[Row]:
    """Every dense kernel, then every sparse one at every density and block side, checked first."""
    dry = device.type == "cpu"
    dtype = torch.float32 if dry else torch.bfloat16
    q, k, v = make_inputs(shape, device, dtype)
    inputs = rotate(2 if dry else copies_beyond_cache(q, k, v), partial(make_inputs, shape, device, dtype))
    scale = shape.head_dim**-0.5
    dense = [i.name for i in DENSE if i.name not in NEVER_TIMED and i.refuse(q, k, v, scale, False) is None]
    rows = _time_set(
        {name: partial(_attend_dense, backend=name) for name in dense},
        inputs,
        repeats,
        device,
        _dense_mask(shape, device),
    )
    best = min(row["ms"] for row in rows if row["ms"])
    for density in DRY_DENSITIES if dry else DENSITIES:
        for side in DRY_SIDES if dry else SIDES:
            mask = _on(device, Case(shape, "band + text", side, density).make_mask())
            able = [
                i.name for i in SPARSE if i.name not in NEVER_TIMED and i.refuse(q, k, v, mask, scale) is None
            ]
            calls = {name: partial(_attend_sparse, mask=mask, backend=name) for name in able}
            rows += _time_set(calls, inputs, repeats, device, mask)
    work = 4.0 * shape.tokens**2 * shape.heads * shape.head_dim
    for row in rows:
        if row["ms"]:
            row["tflops"] = work * row["density"] / row["ms"] / TERA * 1e3
            row["of_dense_by_density"] = best * row["density"] / row["ms"]
    return rows


def _time_set(
    calls: dict[str, Callable[..., Any]],
    inputs: list[Any],
    repeats: int,
    device: torch.device,
    mask: BlockMask,
) -> list[Row]:
    problems = {name: _check(call, inputs[0], mask, name) for name, call in calls.items()}
    right = {name: call for name, call in calls.items() if problems[name] is None}
    times = time_calls(
        {name: lambda turn, call=call: call(*inputs[turn % len(inputs)]) for name, call in right.items()},
        repeats,
        device,
    )
    side = mask.block.query
    return [
        {
            "kernel": name,
            "density": mask.density,
            "side": side,
            "ms": times.get(name),
            "problem": problems[name] or "",
        }
        for name in calls
    ]


def _check(call: Callable[..., Any], qkv: tuple[torch.Tensor, ...], mask: BlockMask, name: str) -> str | None:
    """Why a kernel must not be timed: it raised, or sampled rows disagree with fp64."""
    q, k, v = qkv
    try:
        output, lse = call(q, k, v)
    except (BackendError, RuntimeError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    rows = torch.linspace(0, q.shape[2] - 1, CHECKED_ROWS, device=q.device).long()
    if name == "triton-fp8":  # against what FP8 means
        mean = k.mean(2, dtype=torch.float32, keepdim=True)
        lse = None if lse is None else lse - (q.float() @ mean.mT).squeeze(-1) * q.shape[-1] ** -0.5
        q = fp8.quantise(q, mask.block.query).restore(mask.block.query)
        k = fp8.quantise(k.float() - mean, mask.block.key).restore(mask.block.key)
    try:
        for head in range(q.shape[1]):  # fp64 copies of one head at a time
            one = slice(head, head + 1)
            keep = mask.rows(rows)[:, one if mask.keep.shape[1] > 1 else slice(None)]
            q_rows, k_head, v_head = q[:, one, rows], k[:, one], v[:, one]
            got = output[:, one, rows]
            # A dense kernel returns no LSE; its output stands for both.
            got_lse = lse[:, one, rows] if lse is not None else _exact_lse(q_rows, k_head, keep)
            assert_attention((got, got_lse), q_rows, k_head, v_head, keep, q.shape[-1] ** -0.5)
    except AssertionError as error:
        return str(error)
    return None


def _exact_lse(q: torch.Tensor, k: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    scores = (q.double() @ k.double().mT) * q.shape[-1] ** -0.5
    return scores.masked_fill(~keep, -torch.inf).logsumexp(-1)


def _attend_dense(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, backend: str
) -> tuple[torch.Tensor, None]:
    return dense_attention(q, k, v, backend=backend), None


def _attend_sparse(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: BlockMask, backend: str
) -> tuple[torch.Tensor, torch.Tensor]:
    return block_sparse_attention(q, k, v, mask, backend=backend)


def _dense_mask(shape: Shape, device: torch.device) -> BlockMask:
    return _on(device, Case(shape, "band", shape.tokens, 1.0).make_mask())


def _on(device: torch.device, mask: BlockMask) -> BlockMask:
    return BlockMask(mask.keep.to(device), mask.block, mask.queries, mask.keys)


def print_rows(console: Console, title: str, rows: list[Row]) -> None:
    """One table; a column per field."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title)
    for name in columns:
        table.add_column(
            name.replace("_", " "), justify="left" if name in ("kernel", "work", "problem") else "right"
        )
    for row in rows:
        cells = [row.get(name) for name in columns]
        table.add_row(
            *(
                f"{cell:.3g}" if isinstance(cell, float) else "" if cell is None else str(cell)
                for cell in cells
            )
        )
    console.print(table)


if __name__ == "__main__":
    main()
