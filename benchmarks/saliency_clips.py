"""The clips that saliency is scored on: rendered, so every pixel is known to belong to an object or the background."""

from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.shapes.world.captions import plain_caption
from videosieve.shapes.world.factors import Factors, sample_factors
from videosieve.shapes.world.render import frame_times, render

STEPS = 10
"""Denoising steps of which a clip is brought to the noise level."""


@dataclass(frozen=True)
class Rendered:
    """A clip that training never saw.

    Attributes:
        factors: What it shows.
        caption: In the model's words.
        video: fp32 [frames, 3, height, width] in [0, 1].
        truth: bool [objects + 1, frames, height, width]; the background comes last, one is true at every pixel.
    """

    factors: Factors
    caption: str
    video: Tensor
    truth: Tensor


def render_clip(seed: int, pixels: int) -> Rendered:
    """Render the clip of a seed."""
    seeds = torch.tensor([seed])
    clip = render(sample_factors(seeds), seeds, frame_times(16), pixels, pixels)
    factors = clip.factors.named(0)
    objects = clip.masks[0, : len(factors.objects)] > 0.5
    truth = torch.cat([objects, ~objects.any(0, keepdim=True)])
    truth[1:-1] &= ~truth[0]  # where both cover half of a pixel, the first has it
    return Rendered(factors, plain_caption(factors), clip.video[0].transpose(0, 1) / 2 + 0.5, truth)


def name_concepts(factors: Factors) -> list[str]:
    """The objects of a clip by colour and shape, then its background."""
    return [
        *(f"{thing.colour} {thing.shape}" for thing in factors.objects),
        f"{factors.background} background",
    ]
