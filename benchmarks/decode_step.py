"""What a decoding step costs more while a language model is sparse: `python -m benchmarks.decode_step`.

Decoding stays with the implementation that was there, so a step should cost what it costs without us. The same token is
decoded behind the same cached prompt over and over, in short spells that are dense and sparsified by turns; the second
of a pair begins the next one. A pair gives a ratio of medians; the table has the median over pairs and its 95 %
bootstrap interval.

python -m benchmarks.decode_step --lengths 1024,4096 --pairs 40
"""

import argparse
import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.prefill_tasks import make_sample
from videosieve.integrations.transformers import sparsify
from videosieve.prefill.models import LanguageModel, load_language_model, refuse_wheel

DRAWS = 2000


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.model == "smollm2" and (reason := refuse_wheel()):
        print(f"skipped: {reason}")
        return
    found = load_language_model(options.model, options.device, options.dtype)
    print(
        f"{options.method}, {options.pairs} pairs of {options.spell} steps, {torch.get_num_threads()} threads"
    )
    print(f"{'tokens':>6} {'dense, ms':>9} {'sparsified, ms':>14} {'ratio':>6} {'interval':>15}")
    for length in options.lengths:
        dense, sparse = measure(found, options, length)
        ratios = [theirs / own for own, theirs in zip(dense, sparse, strict=True)]
        low, high = interval(ratios)
        print(
            f"{length:6} {1e3 * median(dense):9.2f} {1e3 * median(sparse):14.2f} {median(ratios):6.3f} "
            f"{low:7.3f} {high:7.3f}",
            flush=True,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16; float32 on a CPU where left out")
    parser.add_argument("--method", default="xattention-llm")
    parser.add_argument("--lengths", default="1024,4096")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--spell", type=int, default=10, help="steps that are timed one after the other")
    options = parser.parse_args(arguments)
    options.lengths = [int(length) for length in options.lengths.split(",")]
    return options


@torch.no_grad()
def measure(
    found: LanguageModel, options: argparse.Namespace, length: int
) -> tuple[list[float], list[float]]:
    """Median seconds of a step, dense and sparsified, one per pair of spells."""
    tokens = make_sample("nll", found.tokenizer, length + 1, 0).tokens.to(found.model.device)
    cache = found.model(tokens[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
    dense: list[float] = []
    sparse: list[float] = []
    for pair in range(options.pairs + 1):
        order = (dense, sparse) if pair % 2 else (sparse, dense)
        for seconds in order:
            made: AbstractContextManager[Any] = (
                sparsify(found.model, options.method) if seconds is sparse else nullcontext()
            )
            with made as run:
                if run is not None:
                    run.warns = False
                steps = decode(found.model, cache, tokens[:, -1:], options.spell)
            if pair:  # the first warms up
                seconds.append(median(steps))
    return dense, sparse


def decode(model: Any, cache: Any, token: Tensor, steps: int) -> list[float]:
    """Seconds of every step; the cache is cut back to its prompt after each."""
    seconds = []
    for step in range(steps + 1):
        start = now(model)
        model(token, past_key_values=cache, use_cache=True)
        if step:  # the first after a change looks things up
            seconds.append(now(model) - start)
        cache.crop(-1)
    return seconds


def now(model: Any) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap of the median."""
    source = random.Random(0)
    medians = sorted(median(source.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return medians[int(0.025 * DRAWS)], medians[int(0.975 * DRAWS)]


if __name__ == "__main__":
    main()
