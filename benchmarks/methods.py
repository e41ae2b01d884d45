"""All methods side by side on the bundled model at equal run density: `python -m benchmarks.methods`.

For every method and target the knob that sizes it is turned until a pilot video has that run density (dense warm-up
included). Then: every prompt and seed, fidelity against the dense video of the same noise, the judge's verdict on the
caption; recall and error of attention itself, on the dense trajectory, so that all methods see the same inputs. All
methods choose among blocks of about 32 tokens. At last, with nothing else running: seconds, as the median ratio of
dense and sparse videos made by turns.

The work is long and resumable: after every row the JSON is whole, and what it holds is not done again. `--workers 2`
makes two rows at a time with one thread each.
"""

import argparse
import functools
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.methods_figure import draw
from benchmarks.methods_rows import OPTIONS, Bench, Row
from benchmarks.rows import read_rows, write_rows

Task = tuple[str, float]


def table(rows: list[dict[str, Any]], accuracy: float) -> str:
    """The rows as Markdown, best PSNR first within a target."""
    titles = (
        "target | method | run density | recall | relative L1 | PSNR, dB | SSIM | captions right | speed-up"
    )
    lines = [f"| {titles} |", "| --- " * 9 + "|"]
    for row in sorted(rows, key=lambda row: (row["target"], -row["psnr"])):
        lines.append(
            f"| {row['target']:.1f} | `{row['method']}` | {row['run_density']:.3f} | {row['attention_recall']:.3f} "
            f"| {row['relative_l1']:.3f} | {row['psnr']:.2f} | {row['ssim']:.3f} | {row['accuracy']:.2f} "
            f"| {'' if row['speedup'] is None else format(row['speedup'], '.2f')} |"
        )
    return "\n".join([*lines, "", f"Dense: {accuracy:.2f} of the captions right."])


def make_rows(bench: Bench, tasks: list[Task], workers: int) -> Iterator[Row]:
    """The rows of some (method, target density), as they are finished.

    Args:
        bench: Whose settings the workers share.
        tasks: Method and target run density.
        workers: Processes of one thread each; 1 works here, with all threads.

    Yields:
        Rows without seconds.
    """
    if workers == 1:
        yield from (bench.row(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        for future in as_completed([pool.submit(_work, bench.given, task) for task in tasks]):
            yield future.result()


_own_bench = functools.cache(Bench)  # one a worker process


def _work(given: tuple[Any, ...], task: Task) -> Row:
    return _own_bench(*given).row(*task)


def main() -> None:
    """Make the rows that are missing, then the seconds that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the model takes by default")
    parser.add_argument("--densities", default="0.3,0.5,0.7")
    parser.add_argument("--methods", default=",".join(OPTIONS))
    parser.add_argument(
        "--repeats", type=int, default=3, help="timed pairs of videos a row; 0: no seconds yet"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="rows made at a time, one thread each if several"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/methods.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/methods.svg"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "videosieve-methods")
    given = parser.parse_args()
    bench = Bench(given.prompts, given.seeds, given.steps, given.work)
    results = read_rows(given.output, bench.settings)
    results |= {"dense_accuracy": bench.accuracy(bench.dense), "other_seed_psnr": bench.other_seed()}
    done = {(row["method"], row["target"]) for row in results["rows"]}
    wanted = [(name, float(d)) for d in given.densities.split(",") for name in given.methods.split(",")]
    for row in make_rows(bench, [task for task in wanted if task not in done], given.workers):
        results["rows"].append(asdict(row))
        write_rows(given.output, results)
        print(row, flush=True)
    for entry in results["rows"]:
        if given.repeats and entry["speedup"] is None:
            entry["seconds"], entry["speedup"] = bench.speed(entry["method"], entry["knob"], given.repeats)
            write_rows(given.output, results)
    print(table(results["rows"], results["dense_accuracy"]))
    draw(results, given.figure)


if __name__ == "__main__":
    main()
