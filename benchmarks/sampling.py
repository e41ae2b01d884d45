"""What the sampler of a bundled model should be: `python -m benchmarks.sampling`.

Guidance, steps and shift are varied one at a time around the defaults. Captions and noise are the same in every row, so
rows differ by the sampler alone. Resumable: a row that the JSON holds is not made again.
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rows import read_rows, write_rows
from videosieve.generation.request import default_steps
from videosieve.judging.evaluate import evaluate, unseen_captions
from videosieve.shapes import load_shapes
from videosieve.shapes.pipeline import GUIDANCE, ShapesPipeline

SCORES = {
    "colour": "colour",
    "motion": "motion",
    "shape": "shape",
    "size": "size",
    "all": "everything right",
    "mask_iou": "mask IoU",
}


@dataclass(frozen=True)
class Sampler:
    """One way to sample.

    Args:
        guidance: Scale of classifier-free guidance; 1 is none, and half the work.
        steps: Euler steps.
        shift: Of the noise levels: more than 1 spends more steps on noisy videos.
    """

    guidance: float
    steps: int
    shift: float


def vary(default: Sampler, **values: list[float]) -> list[Sampler]:
    """The default, and every sampler that differs from it in one field."""
    others = [replace(default, **{name: each}) for name, given in values.items() for each in given]
    return list(dict.fromkeys([default, *others]))


def judge(pipe: ShapesPipeline, sampler: Sampler, captions: list[str], seed: int) -> dict[str, Any]:
    """The scores of one sampler, with intervals and seconds a video."""
    scheduler = pipe.scheduler
    pipe.scheduler = scheduler.from_config(scheduler.config, shift=sampler.shift)
    start = time.perf_counter()
    try:
        found = evaluate(pipe, captions, seed, int(sampler.steps), guidance=sampler.guidance)
    finally:
        pipe.scheduler = scheduler
    seconds = (time.perf_counter() - start) / len(captions)
    return {**asdict(sampler), "seconds": seconds, "scores": found.scores, "intervals": found.intervals}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    titles = ["guidance", "steps", "shift", *SCORES.values(), "seconds a video"]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    for row in rows:
        low, high = row["intervals"]["all"]
        scores = {name: f"{row['scores'][name]:.2f}" for name in SCORES}
        scores["all"] += f" [{low:.2f}, {high:.2f}]"
        cells = [f"{row['guidance']:g}", f"{row['steps']:g}", f"{row['shift']:g}", *scores.values()]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.2f}"]) + " |")
    return "\n".join(lines)


def numbers(text: str) -> list[float]:
    """Comma-separated numbers; none of an empty text."""
    return [float(part) for part in text.split(",") if part]


def main() -> None:
    """Judge the samplers that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="shapes-s", help="bundled, or a folder")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1, help="of captions and noise")
    parser.add_argument("--guidance", type=numbers, default=[1.0, 2.0, 4.0])
    parser.add_argument("--steps", type=numbers, default=[8.0, 12.0])
    parser.add_argument("--shift", type=numbers, default=[3.0, 7.0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/sampling_shapes-s.json"))
    given = parser.parse_args()
    pipe = load_shapes(given.model)
    settings = {"model": given.model, "prompts": given.prompts, "seed": given.seed}
    results = read_rows(given.output, settings)
    captions = unseen_captions(given.prompts, given.seed)
    default = Sampler(GUIDANCE, default_steps(pipe), float(pipe.scheduler.config.shift))
    samplers = vary(default, guidance=given.guidance, steps=given.steps, shift=given.shift)
    done = {(row["guidance"], row["steps"], row["shift"]) for row in results["rows"]}
    for sampler in samplers:
        if (sampler.guidance, sampler.steps, sampler.shift) not in done:
            results["rows"].append(judge(pipe, sampler, captions, given.seed))
            write_rows(given.output, results)
            print(table(results["rows"][-1:]).splitlines()[-1], flush=True)
    print(table(results["rows"]))


if __name__ == "__main__":
    main()
