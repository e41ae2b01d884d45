"""What a run computed, as text and as a picture: density by self-attention and step."""

import torch
from torch import Tensor

from videosieve.run import Run

CELL = 16
"""Pixels of a side of one cell."""
LOW, HIGH = (0.02, 0.55, 0.50), (0.16, 0.10, 0.25)
"""Colours of density 0 and 1; what did not run is white."""


def text_of(run: Run) -> str:
    """The summary, one line a fact."""
    if not len(run.trace):
        return (
            "no video self-attention has run through Sparse attention: connect the report behind the sampler"
        )
    return str(run.summary())


def picture_of(run: Run) -> Tensor:
    """Mean density of every self-attention (rows, first on top) at every step (columns).

    Returns:
        fp32 in [0, 1] [1, pixels, pixels, 3], as ComfyUI has images; one white cell before anything has run.
    """
    records = run.trace.records
    layers = 1 + max((record.layer for record in records), default=0)
    steps = 1 + max((record.step for record in records), default=0)
    computed, pairs = torch.zeros(2, layers, steps, dtype=torch.float64)
    for record in records:
        computed[record.layer, record.step] += record.density * record.pairs
        pairs[record.layer, record.step] += record.pairs
    density = (computed / pairs.clamp(min=1)).float().unsqueeze(-1)
    colours = torch.tensor(LOW) + density * (torch.tensor(HIGH) - torch.tensor(LOW))
    colours[pairs == 0] = 1.0
    return colours.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1).unsqueeze(0)
