"""One generation that is looked at: the run around it, its frames, and which token frame covers which of them."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.sparsify import sparsify
from videosieve.integrations.diffusers.targets import describe
from videosieve.integrations.diffusers.watch import watch
from videosieve.layout import Grid
from videosieve.run import Run

_PACKED = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
_SHRUNK = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor")
"""What pipelines call it, in time and in space: most of them, LTX and EasyAnimate, Mochi."""


def running(pipe: Any, recipe: Any, images: bool = False) -> Any:
    """A context with the run to look at: of a recipe, one that is given, or of the pipeline's own attention (None).

    Only the last can look at an image pipeline, and does so where `images` are wanted.
    """
    if isinstance(recipe, Run):
        return nullcontext(recipe)
    return watch(pipe, images) if recipe is None else sparsify(pipe, recipe)


def to_video(frames: Any) -> Tensor:
    """The first video of a pipeline's output, whatever its output type: fp32 [frames, 3, height, width] in [0, 1]."""
    first = frames[0]
    if isinstance(first, list):  # PIL pictures
        import numpy as np

        first = np.stack([np.asarray(picture) for picture in first]) / 255
    if not isinstance(first, Tensor):
        first = torch.from_numpy(first).permute(0, 3, 1, 2)
    return first.detach().float().cpu()


def frames_of(output: Any) -> Any:
    """What a pipeline's output holds: frames of videos, or images, each of which counts as a video of one frame."""
    if hasattr(output, "frames"):
        return output.frames
    images = output.images
    return [[image] for image in images] if isinstance(images, list) else images[:, None]


def frames_per_latent(pipe: Any) -> int | None:
    """How many video frames the VAE of a pipeline packs into a latent frame; None where nobody says."""
    return next((int(found) for name in _PACKED if (found := getattr(pipe, name, None)) is not None), None)


def pixels_per_latent(pipe: Any) -> int:
    """How many pixels, down and across, the VAE of a pipeline makes a latent; 8 where nobody says."""
    return next((int(found) for name in _SHRUNK if (found := getattr(pipe, name, None)) is not None), 8)


def frame_of(pipe: Any, frames: int, grid: Grid | None) -> tuple[int, ...]:
    """For every video frame its frame of the token grid.

    The first latent frame holds one video frame and every other as many as the VAE packs in time; a model with patches
    of several latent frames pads in front. Where the grid has more frames, references stand first (Wan VACE, Wan
    Animate); where it has fewer, the video begins with what was given and has no tokens (Framepack).
    """
    packed = frames_per_latent(pipe) or 1
    latents = -(-(frames - 1) // packed) + 1
    target = describe(pipe)[0]
    config: Any = target.transformer.config
    patch, _, _ = target.row.patch_sides(config)
    spare = -latents % patch
    there = (latents + spare) // patch
    shift = (grid.frames if grid else there) - there
    places = ((-(-frame // packed) + spare) // patch + shift for frame in range(frames))
    return tuple(max(place, 0) for place in places)
