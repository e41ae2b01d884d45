"""Time the CPU kernels against dense attention: the first table of `videosieve bench`.

Every kernel is first checked against fp64 on sampled rows; a wrong one is not timed. Times are medians of repeats
taken by turns with the dense baseline, which is PyTorch's own `scaled_dot_product_attention`.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.cases import CASES, LONG_64, QUICK_CASES, Case, Pattern, Shape
from videosieve.bench.flex import time_flex
from videosieve.bench.timing import describe_machine, peak_extra_memory, time_by_turns
from videosieve.kernels import block_sparse_attention, reorder_tokens, sampled_attention
from videosieve.masks.block_mask import BlockMask
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_attention

CHECKED_ROWS = 96
Row = dict[str, Any]
Results = dict[str, Any]


def measure(console: Console, *, quick: bool = False, with_flex: bool = False) -> Results:
    """Time every case, print the tables.

    Args:
        console: Where to.
        quick: Few cases, few repeats.
        with_flex: Compare with compiled flex_attention, which needs a C++ compiler.

    Returns:
        The machine and the rows, as they go into JSON.
    """
    cases = QUICK_CASES if quick else CASES
    results: Results = {"machine": describe_machine()}
    with torch.inference_mode(), console.status("") as status:
        attention: list[Row] = []
        for number, case in enumerate(cases, start=1):
            status.update(
                f"attention {number} of {len(cases)}: {case.shape.name}, {case.pattern} of {case.side}"
            )
            attention.append(time_attention(case, repeats_for(case.shape, quick), with_flex))
        shapes = list(dict.fromkeys(case.shape for case in cases))
        status.update("reordering and profiling")
        results["attention"] = attention
        results["around"] = [row for shape in shapes for row in time_around(shape, repeats_for(shape, quick))]
        status.update("memory")
        results["memory"] = measure_memory(LONG_64)
    print_results(console, results)
    return results


def make_console() -> Console:
    """As wide as the terminal; 120 columns where the output goes elsewhere."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def repeats_for(shape: Shape, quick: bool) -> int:
    """More repeats for calls of a few milliseconds."""
    return (5 if quick else 9) * (10 if shape.tokens < 2048 else 1)


def check_rows(output: Tensor, lse: Tensor, qkv: tuple[Tensor, Tensor, Tensor], mask: BlockMask) -> None:
    """Raise an AssertionError unless sampled rows agree with fp64."""
    q, k, v = qkv
    rows = torch.linspace(0, q.shape[2] - 1, CHECKED_ROWS).long()
    actual = output[:, :, rows], lse[:, :, rows]
    assert_attention(actual, q[:, :, rows], k, v, mask.rows(rows), q.shape[-1] ** -0.5)


def time_attention(case: Case, repeats: int, with_flex: bool) -> Row:
    """Sparse and dense attention of one case, checked, then timed."""
    shape, mask = case.shape, case.make_mask()
    q, k, v = make_qkv(
        shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True
    )
    output, lse = block_sparse_attention(q, k, v, mask)
    check_rows(output, lse, (q, k, v), mask)
    calls = {
        "dense": partial(scaled_dot_product_attention, q, k, v),
        "sparse": partial(block_sparse_attention, q, k, v, mask),
    }
    times = time_by_turns(calls, repeats)
    return {
        "shape": shape.name,
        "mask": f"{case.pattern}, blocks of {case.side}",
        "density": mask.density,
        "dense_ms": times["dense"],
        "sparse_ms": times["sparse"],
        "speedup": times["dense"] / times["sparse"],
        "of_ideal": times["dense"] / times["sparse"] * mask.density,
        "flex_ms": time_flex(case, repeats) if with_flex else None,
    }


def time_around(shape: Shape, repeats: int) -> list[Row]:
    """What a method does besides attention: reorder half of the heads, profile two masks on 1 % of the rows."""
    q, k, v = make_qkv(
        shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True
    )
    order = shape.layout.token_major_order()
    heads = torch.arange(shape.heads).remainder(2).bool().unsqueeze(0)
    if not torch.equal(reorder_tokens(q, order, heads=heads)[:, 1::2], q[:, 1::2, order]):
        raise AssertionError("reorder_tokens does not put tokens in order; it is not timed")
    masks = [Case(shape, pattern, 64, 0.25).make_mask() for pattern in ("band", "random")]
    rows = torch.linspace(0, shape.tokens - 1, max(round(shape.tokens * 0.01), 1)).long()

    def profile() -> None:
        sampled_attention(q[:, :, rows], k, v, [mask.rows(rows) for mask in masks])

    times = time_by_turns(
        {
            "dense": partial(scaled_dot_product_attention, q, k, v),
            "copy": q.clone,
            "reorder": partial(reorder_tokens, q, order, heads=heads),
            "profile": profile,
        },
        repeats,
    )
    names = {
        "copy": "copy q",
        "reorder": "reorder half the heads of q",
        "profile": f"profile {len(rows)} rows, two masks",
    }
    return [
        {"shape": shape.name, "work": text, "ms": times[name], "share_of_dense": times[name] / times["dense"]}
        for name, text in names.items()
    ]


def measure_memory(shape: Shape) -> list[Row]:
    """Peak extra memory of a call, its output included, in MiB and in copies of q."""
    q, k, v = make_qkv(
        shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True
    )
    calls: dict[str, Callable[[], object]] = {"dense": partial(scaled_dot_product_attention, q, k, v)}
    patterns: tuple[Pattern, ...] = ("band", "random per head")
    for pattern in patterns:
        calls[pattern] = partial(block_sparse_attention, q, k, v, Case(shape, pattern, 64, 0.25).make_mask())
    copy = q.numel() * q.element_size() / 2**20
    peaks = {name: peak_extra_memory(call) for name, call in calls.items()}
    return [
        {"shape": shape.name, "call": name, "mib": mib, "copies_of_q": mib / copy}
        for name, mib in peaks.items()
    ]


def print_results(console: Console, results: Results) -> None:
    """The machine and three tables."""
    console.print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    has_flex = any(row["flex_ms"] for row in results["attention"])
    titles = [
        "shape and mask",
        "density",
        "dense",
        "sparse",
        "speed-up",
        "of 1/\ndensity",
        *["flex"] * has_flex,
    ]
    table = _table("Block-sparse attention: milliseconds per call, fp32, batch 1", *titles)
    shape = ""
    for row in results["attention"]:
        if row["shape"] != shape:
            shape = row["shape"]
            table.add_row(f"[bold]{shape}[/bold]")
        cells = [
            f"  {row['mask']}",
            f"{row['density']:.3f}",
            f"{row['dense_ms']:.1f}",
            f"{row['sparse_ms']:.1f}",
            f"{row['speedup']:.2f}x",
            f"{row['of_ideal']:.2f}",
        ]
        table.add_row(*cells, *[f"{row['flex_ms'] or 0:.1f}"] * has_flex)
    console.print(table)
    table, shape = _table("Around attention: milliseconds per call", "work", "ms", "of dense attention"), ""
    for row in results["around"]:
        if row["shape"] != shape:
            shape = row["shape"]
            table.add_row(f"[bold]{shape}[/bold]")
        table.add_row(f"  {row['work']}", f"{row['ms']:.2f}", f"{row['share_of_dense']:.2%}")
    console.print(table)
    table = _table("Peak extra memory of one call, output included", "call", "MiB", "copies of q")
    for row in results["memory"]:
        name = f"{row['shape']}, {row['call']}"
        table.add_row(name, f"{row['mib']:.1f}", f"{row['copies_of_q']:.1f}")
    console.print(table)


def _table(title: str, first: str, *numbers: str) -> Table:
    """A table that fits into 80 columns: no box, names of shapes in lines of their own."""
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column(first, min_width=30)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
