"""What bf16 brings a whole video on a CPU: `python -m benchmarks.half_precision [--model shapes-m] [--repeats 1]`.

One video by turns: dense in fp32, svg in fp32, the same with `prefer = "bf16"`, svg in a bf16 pipeline, dense in one.
PSNR is against dense in fp32; attention is what the traces say, choosing the blocks included.
"""

import argparse
from collections.abc import Sequence
from statistics import median

from videosieve.generation.generate import Clip, generate, rehearse
from videosieve.generation.load import load_pipeline
from videosieve.generation.request import Request
from videosieve.kernels.native_library import refuse_products
from videosieve.metrics import psnr
from videosieve.recipe import Recipe

PROMPT = "a large red circle moves left and a small blue square moves up over a striped background"
SVG = {"density": 0.35, "dense_steps": 0.3}
ROWS = {
    "dense, fp32": ("float32", Recipe.of("dense")),
    "svg, fp32": ("float32", Recipe.of("svg", **SVG)),
    "svg, fp32, prefer bf16": ("float32", Recipe.of("svg", prefer="bf16", **SVG)),
    "svg, bf16": ("bfloat16", Recipe.of("svg", **SVG)),
    "dense, bf16": ("bfloat16", Recipe.of("dense")),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the rows and print them as Markdown; `arguments` are those of the process where left out."""
    parser = argparse.ArgumentParser(description="Time a video in fp32 and bf16.")
    parser.add_argument("--model", default="shapes-m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args(arguments)
    if (reason := refuse_products()) is not None:
        raise SystemExit(f"bf16 is no faster here: {reason}")
    pipes = {dtype: load_pipeline(options.model, "cpu", dtype) for dtype in ("float32", "bfloat16")}
    request = Request(PROMPT, steps=options.steps)
    for dtype, recipe in ROWS.values():
        rehearse(pipes[dtype], request, recipe)
    clips: dict[str, list[Clip]] = {name: [] for name in ROWS}
    for _ in range(options.repeats):
        for name, (dtype, recipe) in ROWS.items():
            clips[name].append(generate(pipes[dtype], request, recipe))
    print(table(clips))


def table(clips: dict[str, list[Clip]]) -> str:
    """One line a row; the first is what the others are measured against, medians over the repeats."""
    seconds = {name: median(clip.seconds for clip in made) for name, made in clips.items()}
    first, *_ = clips
    lines = ["| row | seconds | speed-up | attention, s | run density | PSNR, dB |", "|" + " --- |" * 6]
    for name, made in clips.items():
        records = made[0].trace.records
        attention = median(sum(record.milliseconds for record in clip.trace.records) for clip in made) / 1e3
        pairs = sum(record.pairs for record in records)
        density = sum(record.pairs * record.density for record in records) / pairs
        near = "" if name == first else f"{psnr(made[0].frames, clips[first][0].frames).mean:.1f}"
        speed = seconds[first] / seconds[name]
        lines.append(
            f"| {name} | {seconds[name]:.1f} | {speed:.2f} | {attention:.1f} | {density:.2f} | {near} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
