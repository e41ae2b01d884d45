"""Tune the launch tables on the GPU at hand: `python -m benchmarks.tune_launch [OP …] [--dry-run] [--output FOLDER]`.

Every row that this architecture uses is tried with neighbouring tiles, warps and stages. A candidate that does not give
the values of the row it would replace is not timed. The fastest becomes a row of this architecture's own in the op's
`launch.py`, and the table's source says on what it was measured. Rows of other architectures stay as they are.
"""

import argparse
import ast
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_timing import describe_device, time_calls
from benchmarks.tune_samples import SAMPLES, Sample
from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch

PACKAGE = Path(__file__).parent.parent / "videosieve" / "kernels"
WARPS, STAGES, LEAST_SIDE, MOST_SIDE = (2, 4, 8), (1, 2, 3, 4), 1, 256
FAILED = (AssertionError, RuntimeError, ValueError)
ROUNDINGS = 16
Log = Callable[[str], None]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tune the launch tables on the GPU at hand.")
    parser.add_argument("ops", nargs="*", metavar="OP", help=f"of {', '.join(SAMPLES)}; default: all")
    parser.add_argument("--dry-run", action="store_true", help="in the interpreter, two candidates per row")
    parser.add_argument("--output", type=Path, help="folder for the tables; default: in place")
    parser.add_argument("--repeats", type=int, default=15, help="timed turns per candidate; default: 15")
    options = parser.parse_args(arguments)
    if unknown := set(options.ops) - set(SAMPLES):
        raise SystemExit(f"no op {', '.join(sorted(unknown))}; there are {', '.join(SAMPLES)}")
    if not options.dry_run and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is visible; --dry-run runs the same code in the interpreter")
    if options.dry_run and options.output is None:
        raise SystemExit("a dry run measures nothing: give --output, so that no table of the package changes")
    device = torch.device("cpu" if options.dry_run else "cuda")
    with torch.inference_mode(), _interpreter(options.dry_run):
        for op in options.ops or SAMPLES:
            table, rows = tune(op, device, options.repeats, print)
            place = PACKAGE if options.output is None else options.output
            (place / op).mkdir(parents=True, exist_ok=True)
            text = (PACKAGE / op / "launch.py").read_text()
            (place / op / "launch.py").write_text(rewrite(text, rows, new_source(table, device)))
            print(f"written to {place / op / 'launch.py'}")


def tune(
    op: str, device: torch.device, repeats: int, log: Log
) -> tuple[LaunchTable, dict[tuple[int, ...], Launch]]:
    """The op's table, and all its rows with those of this architecture replaced by the fastest found."""
    sample, arch, dry = SAMPLES[op], launch_arch(device), device.type == "cpu"
    table = sample.table()
    rows = dict(table.rows)
    for key in sorted({key for row_arch, key, _ in table if row_arch <= arch}):
        usual = table.find(arch, *key)
        run = sample.prepare(key, device)
        expected = run()
        best, best_ms = usual, time_calls({"": lambda _, run=run: run()}, repeats, device)[""]
        log(f"{op} sm{arch} {key}: {usual} {best_ms:.4g} ms")
        for candidate in itertools.islice(neighbours(usual, sample, key), 2 if dry else None):
            milliseconds = _try(table, (arch, *key), candidate, run, expected, repeats, device, log)
            if milliseconds is not None and milliseconds < best_ms:
                best, best_ms = candidate, milliseconds
                log(f"    {candidate} {milliseconds:.4g} ms")
        table.rows.clear()
        table.rows.update(rows)
        rows[(arch, *key)] = best
    return table, rows


def neighbours(usual: Launch, sample: Sample, key: tuple[int, ...]) -> Iterator[Launch]:
    """Launches worth trying: every side of the tile halved, kept or doubled, all warps and stages."""
    sides = [[side for side in (s // 2, s, s * 2) if LEAST_SIDE <= side <= MOST_SIDE] for s in usual.tile]
    for *tile, num_warps, num_stages in itertools.product(*sides, WARPS, STAGES):
        launch = replace(usual, tile=tuple(tile), num_warps=num_warps, num_stages=num_stages)
        if launch != usual and sample.sensible(key, launch):
            yield launch


def _try(
    table: LaunchTable,
    row: tuple[int, ...],
    candidate: Launch,
    run: Callable[[], Any],
    expected: Any,
    repeats: int,
    device: torch.device,
    log: Log,
) -> float | None:
    """Milliseconds of a candidate, or None where it does not fit the device or gives other values."""
    table.rows[row] = candidate
    try:
        _require_same(run(), expected)
        return time_calls({"": lambda _: run()}, repeats, device)[""]
    except FAILED as error:
        log(f"    {candidate} left out: {' '.join(str(error).split())[:100]}")
        return None


def _require_same(actual: Any, expected: Any) -> None:
    """Raise an AssertionError unless two results differ by the order of their sums at most."""
    if isinstance(expected, torch.Tensor):
        finite = expected.isfinite()
        size = float(expected[finite].abs().max()) if finite.any() else 0.0
        torch.testing.assert_close(
            actual, expected, rtol=0.0, atol=ROUNDINGS * torch.finfo(expected.dtype).eps * size
        )
        return
    for one, other in zip(actual, expected, strict=True):
        _require_same(one, other)


def new_source(table: LaunchTable, device: torch.device) -> str:
    """Where the rows come from, from now on."""
    machine = ", ".join(f"{name} {value}" for name, value in describe_device(device).items())
    where = f"sm{launch_arch(device)} tuned by benchmarks.tune_launch on {date.today()} ({machine})"
    return f"{where}; others: {table.source}"


def rewrite(text: str, rows: dict[tuple[int, ...], Launch], source: str) -> str:
    """The text of a `launch.py` with other rows and another source; all else stays.

    Args:
        text: Holds one call of `LaunchTable(op, source, rows)`.
        rows: (architecture, *key) → launch.
        source: Where they come from.

    Returns:
        The new text.
    """
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LaunchTable"
    ]
    if len(calls) != 1:
        raise ValueError(f"the file must hold one LaunchTable, got {len(calls)}")
    named = {keyword.arg: keyword.value for keyword in calls[0].keywords}
    old_source = named.get("source") or calls[0].args[1]
    old_rows = named.get("rows") or calls[0].args[2]
    lines = [
        f"        {row}: Launch({launch.tile}, {launch.num_warps}, {launch.num_stages}),\n"
        for row, launch in sorted(rows.items())
    ]
    text = _replace(
        text, old_rows, "{\n" + "".join(lines) + "    }"
    )  # the later one first: positions stay right
    return _replace(text, old_source, _wrapped(source))


def _wrapped(text: str) -> str:
    """A string literal in lines of at most 90 characters."""
    pieces = [text[at : at + 90] for at in range(0, len(text), 90)]
    return "(\n" + "".join(f"        {json.dumps(piece, ensure_ascii=False)}\n" for piece in pieces) + "    )"


def _replace(text: str, node: ast.expr, new: str) -> str:
    starts = list(itertools.accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0))
    first = starts[node.lineno - 1] + node.col_offset
    last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    return text[:first] + new + text[last:]


def _interpreter(wanted: bool) -> Any:
    from videosieve.testing.triton_interpreter import interpreted

    return interpreted() if wanted else nullcontext()


if __name__ == "__main__":
    main()
