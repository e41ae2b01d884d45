"""Whether there is memory for so many concepts, said before the first map is made and not in the middle of a video."""

from pathlib import Path

import torch

from videosieve.concepts.accumulate import Keep
from videosieve.errors import IntegrationError


def require_memory(
    concepts: int, tokens: int, heads: int, keep: Keep, layers: int, steps: int, device: torch.device
) -> None:
    """Raise an IntegrationError where maps of so many concepts cannot be held.

    What is counted: attention scores and weights of the concepts at one layer, and the running sums of maps, twice
    while a pass is open.

    Args:
        concepts: How many.
        tokens: Of the video.
        heads: Of the attention; 0 where no concept attends.
        keep: Which maps are kept apart.
        layers: That are averaged.
        steps: Likewise.
        device: Where the maps are.
    """
    free = free_bytes(device)
    parts = {"mean": 1, "layers": 1 + layers, "steps": 1 + steps, "sites": 1 + layers * steps}[keep]
    needed = 4 * concepts * tokens * (2 * heads + 2 * parts)
    if free is not None and needed > free:
        raise IntegrationError(
            f"saliency of {concepts} concepts over {tokens:,} tokens, with keep={keep!r}, needs "
            f"{needed / 2**30:.1f} GiB of {device.type} memory, and {free / 2**30:.1f} GiB are free; ask for fewer "
            f"concepts" + ("" if keep == "mean" else ", or keep='mean'")
        )


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
