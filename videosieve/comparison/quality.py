"""How good a clip is: against the dense clip of the same noise, by itself, and by the bundled model's judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.errors import PromptError, ShapeError
from videosieve.generation.generate import Clip
from videosieve.metrics import Psnr, measure, ms_ssim, psnr, relative_l2, ssim_per_frame, temporal_flicker
from videosieve.metrics.ms_ssim import WEIGHTS

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Windowed metrics work in fp64: 8 frames of 720p need 0.2 GB a tensor, 129 would need 3 GB.
FRAMES_AT_A_TIME = 8
ACROSS_FRAMES = ("vmaf",)  # look at neighbours, so they must see the whole video


@dataclass(slots=True)
class Quality:
    """What was measured of one clip, before any codec.

    Attributes:
        psnr: Against the dense clip, as are the next two; None for the dense clip itself.
        ssim_frames: SSIM of every frame; None too where frames are too small.
        scores: Further metrics by name.
        accuracy: Share of asked objects with the right factor, see videosieve.judging.judge; None without a judge.
        unavailable: Why a metric is missing, by its name.
    """

    psnr: Psnr | None = None
    ssim_frames: list[float] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] | None = None
    unavailable: dict[str, str] = field(default_factory=dict)


def measure_quality(
    pipe: "DiffusionPipeline", clip: Clip, prompt: str, dense: Clip | None, metrics: Sequence[str] = ()
) -> Quality:
    """Measure a clip.

    Args:
        pipe: What made it; tells whether there is a judge.
        clip: The clip.
        prompt: What it should show.
        dense: The dense clip of the same prompt and noise; None where `clip` is it.
        metrics: Further metrics against it, names of videosieve.metrics.METRICS; they take long, or need weights.

    Returns:
        The figures, and what could not be measured.

    Raises:
        ShapeError: The clips differ in length or size.
    """
    quality = Quality()
    _score(quality, "flicker", lambda: temporal_flicker(clip.frames))
    if dense is not None:
        _require_same_size(clip.frames, dense.frames)
        quality.psnr = psnr(clip.frames, dense.frames)
        _add_structure(quality, clip.frames, dense.frames)
        _add_further(quality, clip.frames, dense.frames, metrics)
        if clip.latent is None or dense.latent is None:
            quality.unavailable["latent_relative_l2"] = "the pipeline decodes no latents with a VAE"
        else:
            latents = (clip.latent, dense.latent)
            _score(quality, "latent_relative_l2", lambda: relative_l2(*latents))
    try:
        quality.accuracy = _judge(pipe, clip.frames, prompt)
    except PromptError as error:
        quality.unavailable["accuracy"] = f"the judge cannot read the prompt: {error}"
    return quality


def _require_same_size(video: Tensor, reference: Tensor) -> None:
    if video.shape != reference.shape:
        (count, _, *size), (frames, _, *other) = video.shape, reference.shape
        raise ShapeError(
            f"all videos of a scene must have the same length and size as the dense one, {frames} frames of "
            f"{other[1]} × {other[0]} pixels, got {count} of {size[1]} × {size[0]}; give height, width and frames"
        )


def _add_structure(quality: Quality, video: Tensor, reference: Tensor) -> None:
    try:
        quality.ssim_frames = _by_frames(lambda x, y: ssim_per_frame(x, y).tolist(), video, reference)
    except ShapeError as error:
        quality.unavailable["ssim"] = str(error)
    try:
        scales = ms_ssim(video[:1], reference[:1]).scales
    except ShapeError as error:
        quality.unavailable["ms_ssim"] = str(error)
        return
    name = "ms_ssim" if scales == len(WEIGHTS) else f"ms_ssim_{scales}_scales"
    frames = _by_frames(lambda x, y: list(ms_ssim(x, y, scales).frames), video, reference)
    quality.scores[name] = sum(frames) / len(frames)


def _add_further(quality: Quality, video: Tensor, reference: Tensor, metrics: Sequence[str]) -> None:
    for name in metrics:
        at_a_time = len(video) if name in ACROSS_FRAMES else FRAMES_AT_A_TIME
        values: list[float] = []
        for x, y in zip(video.split(at_a_time), reference.split(at_a_time), strict=True):
            found = measure([name], x, y)[name]
            if found.value is None:
                quality.unavailable[name] = found.reason
                break
            values += found.frames
        else:
            quality.scores[name] = sum(values) / len(values)


def _by_frames(
    metric: Callable[[Tensor, Tensor], list[float]], video: Tensor, reference: Tensor
) -> list[float]:
    pieces = zip(video.split(FRAMES_AT_A_TIME), reference.split(FRAMES_AT_A_TIME), strict=True)
    return [value for x, y in pieces for value in metric(x, y)]


def _score(quality: Quality, name: str, measure: Callable[[], float]) -> None:
    try:
        quality.scores[name] = measure()
    except ShapeError as error:
        quality.unavailable[name] = str(error)


def _judge(pipe: Any, frames: Tensor, prompt: str) -> dict[str, float] | None:
    from videosieve.judging.judge import judge_video
    from videosieve.shapes.pipeline import ShapesPipeline
    from videosieve.shapes.world.captions import parse_caption

    if not isinstance(pipe, ShapesPipeline):
        return None
    with torch.inference_mode():
        verdict = judge_video(frames, parse_caption(prompt))
    return {**verdict.correct, "all": float(verdict.all_correct)}
