"""Look for the concepts of scenes with a model, and score what it shows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.errors import ModelError
from videosieve.files import write_text
from videosieve.generation.footage import cover, fit_footage
from videosieve.generation.refusals import told_as_model_error
from videosieve.scenes.layout import Scene
from videosieve.scenes.score import FIGURES, Score, intervals, score_maps


@dataclass(frozen=True)
class Report:
    """The scores of some scenes.

    Attributes:
        names: Of the scenes.
        scores: One a scene.
    """

    names: tuple[str, ...]
    scores: tuple[Score, ...]

    @property
    def total(self) -> Score:
        """All scenes together: figures are ratios of sums, not means of ratios."""
        return sum(self.scores, Score())

    def as_json(self) -> dict[str, Any]:
        """Figures of all scenes with their intervals, and of every scene."""

        def rounded(values: dict[str, float]) -> dict[str, float | None]:
            return {name: None if value != value else round(value, 4) for name, value in values.items()}

        return {
            "scenes": len(self.names),
            "figures": rounded(self.total.figures()),
            "intervals": {
                name: [None if end != end else round(end, 4) for end in ends]
                for name, ends in intervals(self.scores).items()
            },
            "by_scene": {
                name: rounded(score.figures()) for name, score in zip(self.names, self.scores, strict=True)
            },
        }

    def save(self, path: Path, **about: Any) -> None:
        """Write `as_json` and what the scores are of; the file appears whole or not at all."""
        write_text(path, json.dumps({**about, **self.as_json()}, indent=1, ensure_ascii=False) + "\n")

    def table(self) -> str:
        """The figures as Markdown, with the interval that holds 95 of 100 draws of as many scenes."""
        values, ends = self.total.figures(), intervals(self.scores)
        lines = ["| figure | value | 95 % |", "| --- | --- | --- |"]
        for name, words in FIGURES.items():
            low, high = ends[name]
            lines.append(f"| {words} | {values[name]:.3f} | {low:.3f} – {high:.3f} |")
        return "\n".join(lines)


def look_at(
    pipe: Any,
    scene: Scene,
    methods: Sequence[SaliencyMethod],
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    seed: int = 0,
    **call: Any,
) -> list[SaliencyMaps]:
    """Maps of a scene, one for every method, from the same noisy forwards.

    Args:
        pipe: A diffusers pipeline of videos or images.
        scene: What to look at; its sides must fit the model, or be scaled by `fit_scene` before.
        methods: How saliency is computed.
        layers: As for `videosieve.saliency`.
        steps: Likewise.
        seed: Of the noise.
        **call: Arguments of the pipeline's call.

    Raises:
        ModelError: The pipeline refuses it, or makes images and the scene is a clip.
    """
    from videosieve.integrations.diffusers import describe
    from videosieve.integrations.diffusers.concepts.saliency import (
        make_question,
        saliency_of_image,
        saliency_of_video,
    )
    from videosieve.integrations.diffusers.models import IMAGES

    questions = [make_question(scene.concepts, method, layers, steps) for method in methods]
    call = {**call, "generator": torch.Generator().manual_seed(seed)}
    images = describe(pipe, images=True)[0].row.name in IMAGES
    if images and len(scene.video) > 1:
        raise ModelError(
            f"{scene.name!r} is a clip of {len(scene.video)} frames, and {type(pipe).__name__} makes images"
        )
    with told_as_model_error(pipe):
        if images:
            return saliency_of_image(pipe, scene.video[0], scene.prompt, questions, **call)
        return saliency_of_video(pipe, scene.video, scene.prompt, questions, **call)


def fit_scene(pipe: Any, scene: Scene, height: int | None = None, width: int | None = None) -> Scene:
    """A scene at a size that a video model takes, masks included; image models take the size as it is asked for.

    Args:
        pipe: The pipeline.
        scene: The scene.
        height: Pixels; None keeps the scene's, or takes the only size of the bundled models.
        width: Pixels, likewise.
    """
    from videosieve.integrations.diffusers.clips import frames_per_latent

    if frames_per_latent(pipe) is None:
        side = pipe.vae_scale_factor * 2
        rows, columns = (
            given or max(side, extent // side * side)
            for given, extent in zip((height, width), scene.video.shape[2:], strict=True)
        )
        video = cover(scene.video, rows, columns)
    else:
        video = fit_footage(pipe, scene.video, height, width)
    return replace(scene, video=video, truth=_fit_truth(scene.truth[:, : len(video)], video))


def _fit_truth(truth: Tensor, video: Tensor) -> Tensor:
    """Masks at the video's size, the middle kept as `cover` does; the nearest pixel, so that one stays true."""
    rows, columns = video.shape[2:]
    height, width = truth.shape[2:]
    if (height, width) == (rows, columns):
        return truth
    factor = max(rows / height, columns / width)
    size = max(rows, round(height * factor)), max(columns, round(width * factor))
    scaled = torch.nn.functional.interpolate(truth.float(), size=size, mode="nearest-exact") > 0.5
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    return scaled[..., top : top + rows, left : left + columns]


def score_found(found: SaliencyMaps, truth: Tensor, maps: Tensor | None = None) -> Score:
    """Score maps at the size of their video.

    Args:
        found: Maps with their video.
        truth: As for `score_maps`.
        maps: Other maps of the same grid; None takes those of `found`.
    """
    large = replace(found, maps=found.maps if maps is None else maps).upsample()
    return score_maps(large[:, None] if found.of_image else large, truth)


def score_scenes(
    pipe: Any,
    scenes: Iterable[Scene],
    method: SaliencyMethod | None = None,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    seed: int = 0,
    height: int | None = None,
    width: int | None = None,
    **call: Any,
) -> Report:
    """Score a model on pictures or clips with masks.

    Args:
        pipe: A diffusers pipeline of videos or images.
        scenes: What to look at.
        method: How saliency is computed; None takes the defaults.
        layers: As for `videosieve.saliency`.
        steps: Likewise; None takes the noise level nearest one half.
        seed: Of the noise, the same for every scene.
        height: Pixels that scenes are scaled to; None keeps theirs.
        width: Pixels, likewise.
        **call: Arguments of the pipeline's call: `num_inference_steps` says how fine the noise levels are.

    Returns:
        The scores.

    Raises:
        ModelError: There is no scene, or the pipeline refuses one.
    """
    names, scores = [], []
    for scene in scenes:
        fitted = fit_scene(pipe, scene, height, width)
        (found,) = look_at(pipe, fitted, [method or SaliencyMethod()], layers, steps, seed, **call)
        names.append(scene.name)
        scores.append(score_found(found, fitted.truth))
    if not names:
        raise ModelError("there must be at least one scene to score, got none")
    return Report(tuple(names), tuple(scores))
