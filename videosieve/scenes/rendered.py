"""Rendered scenes of the bundled model's world, whose masks are known exactly; training never saw their seeds."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from videosieve.scenes.layout import Scene
from videosieve.shapes.world.captions import plain_caption
from videosieve.shapes.world.factors import Factors, sample_factors
from videosieve.shapes.world.render import frame_times, render

FIRST_SEED = 2 * 10**9
"""Apart from the seeds of training and of the judge's evaluation."""


def name_concepts(factors: Factors) -> tuple[str, ...]:
    """The objects of a clip by colour and shape, then its background."""
    things = (f"{thing.colour} {thing.shape}" for thing in factors.objects)
    return (*things, f"{factors.background} background")


def render_scene(seed: int, pixels: int) -> Scene:
    """The clip of a seed as a scene."""
    seeds = torch.tensor([seed])
    clip = render(sample_factors(seeds), seeds, frame_times(16), pixels, pixels)
    factors = clip.factors.named(0)
    objects = clip.masks[0, : len(factors.objects)] > 0.5
    truth = torch.cat([objects, ~objects.any(0, keepdim=True)])
    truth[1:-1] &= ~truth[0]  # where both cover half of a pixel, the first has it
    video = clip.video[0].transpose(0, 1) / 2 + 0.5
    return Scene(f"clip-{seed}", video, truth, name_concepts(factors), plain_caption(factors))


def rendered_scenes(count: int, pixels: int, first: int = FIRST_SEED) -> Iterator[Scene]:
    """Scenes of consecutive seeds.

    Args:
        count: How many.
        pixels: Height and width.
        first: Seed to begin with.
    """
    for number in range(count):
        yield replace(render_scene(first + number, pixels), name=f"clip-{number:05d}")
