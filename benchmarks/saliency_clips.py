"""The clips that saliency is scored on: rendered, so every pixel is known to belong to an object or the background."""

from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.scenes.rendered import name_concepts as of_scene
from videosieve.scenes.rendered import render_scene
from videosieve.shapes.world.factors import Factors, sample_factors

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
    scene = render_scene(seed, pixels)
    factors = sample_factors(torch.tensor([seed])).named(0)
    return Rendered(factors, scene.prompt, scene.video, scene.truth)


def name_concepts(factors: Factors) -> list[str]:
    """The objects of a clip by colour and shape, then its background."""
    return list(of_scene(factors))
