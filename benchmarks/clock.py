"""What it costs to say which forward this is: `python -m benchmarks.clock`.

Median milliseconds of `read_moment`, which names a forward and lays out its batch, over the forwards of whole tiny
pipelines; and how often it reads a tensor's values, which on a GPU waits for the device. The list of timesteps is read
once more at the first forward of every generation.
"""

import time
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from videosieve import sparsify
from videosieve.integrations.diffusers import attach
from videosieve.testing import pipelines as tiny
from videosieve.testing.reads import count_reads, on_device

STEPS, GENERATIONS = 50, 3
CASES = {
    "Wan, two calls per step": (tiny.tiny_wan, tiny.wan_call, {}),
    "HunyuanVideo, two prompts": (
        tiny.tiny_hunyuanvideo,
        tiny.hunyuanvideo_call,
        {"prompt": ["a cat", "a red dog runs over the sea"]},
    ),
    "CogVideoX, both branches in a batch": (tiny.tiny_cogvideox, tiny.cogvideox_call, {}),
}


def measure(make: Any, call: Any, options: dict[str, Any]) -> tuple[float, list[int]]:
    """Median milliseconds per forward, and how many reads forwards make: most often, and at most."""
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    original, seconds, reads = attach.read_moment, [], []

    def timed(*args: Any) -> Any:
        start = time.process_time()
        moment = original(*args)
        seconds.append(time.process_time() - start)
        return moment

    def counted(clock: Any, row: Any, component: str, transformer: Any, arguments: Any) -> Any:
        with count_reads() as count:
            moment = original(clock, row, component, transformer, on_device(arguments))
        reads.append(count.reads)
        return moment

    for wrapper in (timed, counted):
        with patch.object(attach, "read_moment", wrapper), sparsify(pipe, "dense"):
            for _ in range(GENERATIONS):
                pipe(**call(num_inference_steps=STEPS, output_type="latent", **options))
    return 1e3 * median(seconds), [max(set(reads), key=reads.count), max(reads)]


def main() -> None:
    torch.set_num_threads(1)
    print(f"{STEPS} steps, {GENERATIONS} generations")
    for name, case in CASES.items():
        milliseconds, (usual, most) = measure(*case)
        print(
            f"{name:40} {milliseconds:.3f} ms per forward, {usual} reads (first forward of a generation {most})"
        )


if __name__ == "__main__":
    main()
