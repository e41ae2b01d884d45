"""`saliency`: where in a video or an image a pipeline sees each concept, while it generates or in one that is given."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod, normalise_concepts
from videosieve.errors import IntegrationError, PromptError
from videosieve.integrations.diffusers.clips import frame_of, frames_of, running, to_video
from videosieve.integrations.diffusers.concepts.given import (
    encode_image,
    encode_video,
    noisy_input,
    one_step,
    unguided,
)
from videosieve.integrations.diffusers.concepts.question import Question
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
from videosieve.integrations.diffusers.models import IMAGES
from videosieve.integrations.diffusers.targets import describe
from videosieve.methods import Method
from videosieve.recipe import Recipe
from videosieve.run import Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from videosieve.integrations.diffusers.options import PipelineCall


def saliency(
    pipe: Any,
    prompt: str,
    concepts: Sequence[str],
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    method: str | SaliencyMethod = "concept",
    recipe: "str | Path | Method | Recipe | Run | None" = None,
    **call: "Unpack[PipelineCall]",
) -> SaliencyMaps:
    """Generate a video or an image and say where in it each concept is.

    It is the same, bit for bit, as without concepts: the pipeline's own, or that of the recipe. Under guidance
    the conditional branch is looked at.

    Args:
        pipe: A diffusers video pipeline, see `MODELS`, or an image pipeline, see `IMAGES`.
        prompt: What it shows.
        concepts: Words or phrases to look for; they need not be in the prompt. Maps are relative to one another, so
            give a background concept as well.
        layers: Self-attentions to average, in call order; None takes those that `pipe.config["saliency_layers"]` names
            for the method, or all.
        steps: Denoising steps to average, from 0; None takes those at a middle noise level.
        method: "concept", "cross_attention", or a `SaliencyMethod` with its parameters.
        recipe: None leaves attention to the pipeline; a recipe computes it as `sparsify` would; the run of a pipeline
            that is sparse already.
        **call: Arguments of the pipeline's call: steps, size, seed, guidance. With `video`, a tensor
            [frames, 3, height, width] in [0, 1], or with `picture`, [3, height, width], nothing is generated: see
            `saliency_of_video` and `saliency_of_image`.

    Returns:
        The maps, with the video or image.

    Raises:
        PromptError: No concept, one twice, or a word that the model refuses.
        IntegrationError: The model has no such maps, or layers or steps are out of range.
    """
    copies = [call.get(f"num_{what}_per_prompt", 1) for what in ("videos", "images")]
    if not isinstance(prompt, str) or copies != [1, 1]:
        raise PromptError(
            f"saliency looks at one video of one prompt, got {prompt!r}; call it once per video"
        )
    question = make_question(concepts, method, layers, steps)
    given: dict[str, Any] = {**call}
    makes_images = describe(pipe, images=True)[0].row.name in IMAGES
    if makes_images:
        _require_image_options(pipe, given)
        if (picture := given.pop("picture", None)) is not None:
            return saliency_of_image(pipe, picture, prompt, [question], recipe=recipe, **given)[0]
    elif given.get("picture") is not None:
        raise IntegrationError(
            f"{type(pipe).__name__} makes videos; give it video=[frames, 3, height, width]"
        )
    if (video := given.pop("video", None)) is not None:
        return saliency_of_video(pipe, video, prompt, [question], recipe=recipe, **given)[0]
    given.setdefault("output_type", "pt")
    with running(pipe, recipe, True) as run, ConceptRecorder(pipe, run, question, given) as recorder:
        output = pipe(prompt=prompt, **given)
    clip = None if given["output_type"] == "latent" else to_video(frames_of(output))
    if makes_images:
        return recorder.result(0, clip)
    return recorder.result(0, clip, () if clip is None else frame_of(pipe, len(clip), recorder.grid))


def _require_image_options(pipe: Any, given: dict[str, Any]) -> None:
    """Raise an IntegrationError where an image pipeline is given what only a video has."""
    wrong = [name for name in ("video", "num_frames", "frame_rate", "fps") if given.get(name) is not None]
    if wrong:
        raise IntegrationError(
            f"{type(pipe).__name__} makes images, which have no {' and no '.join(wrong)}; leave that out, and give an "
            f"image as picture=[3, height, width]"
        )


def make_question(
    concepts: Sequence[str],
    method: str | SaliencyMethod = "concept",
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Question:
    """Check what is asked for, before anything is computed; arguments as for `saliency`."""
    chosen: Any = method
    return Question(
        normalise_concepts(concepts),
        method if isinstance(method, SaliencyMethod) else SaliencyMethod(chosen),
        None if layers is None else tuple(layers),
        None if steps is None else tuple(steps),
    )


@torch.no_grad()
def saliency_of_video(
    pipe: Any, video: Tensor, prompt: str, questions: Sequence[Question], *, recipe: Any = None, **call: Any
) -> list[SaliencyMaps]:
    """Where in a given video each concept is: encode it, add noise, one forward per step, no guidance.

    Args:
        pipe: A diffusers text-to-video pipeline whose VAE encodes.
        video: [frames, 3, height, width] in [0, 1]; a frame count and sides that the model takes.
        prompt: A caption of it; "" says nothing.
        questions: What to look for; all are answered by the same forwards. The steps of the first are the noise
            levels of all; None takes the one nearest to the middle of `NOISE`.
        recipe: As for `saliency`.
        **call: Arguments of the pipeline's call; `num_inference_steps` sets how fine the noise levels are, `generator`
            draws the noise.

    Returns:
        The maps of every question, with the video.

    Raises:
        ShapeError: The video has another shape, or a number of frames that the VAE cannot pack.
        IntegrationError: The pipeline takes an image, or steps are out of range.
    """
    given = encode_video(pipe, video)
    call |= {"num_frames": len(video), "height": video.shape[2], "width": video.shape[3]}
    recorders = _look(pipe, given, prompt, questions, recipe, call)
    clip = video.float().cpu()
    covering = frame_of(pipe, len(clip), recorders[0].grid)
    return [recorder.result(0, clip, covering) for recorder in recorders]


@torch.no_grad()
def saliency_of_image(
    pipe: Any, image: Tensor, prompt: str, questions: Sequence[Question], *, recipe: Any = None, **call: Any
) -> list[SaliencyMaps]:
    """Where in a given image each concept is; like `saliency_of_video`.

    Args:
        pipe: A diffusers image pipeline whose VAE encodes.
        image: [3, height, width] in [0, 1]; sides that the model takes.
        prompt: A caption of it; "" says nothing.
        questions: What to look for.
        recipe: None, or the run of `watch`.
        **call: Arguments of the pipeline's call.

    Returns:
        The maps of every question, with the image.

    Raises:
        ShapeError: The image has another shape.
        IntegrationError: The pipeline has no VAE that encodes, or steps are out of range.
    """
    given = encode_image(pipe, image)
    call |= {"height": image.shape[1], "width": image.shape[2]}
    recorders = _look(pipe, given, prompt, questions, recipe, call)
    return [recorder.result(0, image.float().cpu()[None]) for recorder in recorders]


def _look(
    pipe: Any, given: Tensor, prompt: str, questions: Sequence[Question], recipe: Any, call: dict[str, Any]
) -> list[ConceptRecorder]:
    """One unguided forward for every noise level, on the given latents with noise."""
    noise = torch.randn(given.shape, generator=call.get("generator"), dtype=given.dtype).to(given.device)
    steps = questions[0].steps
    with ExitStack() as stack:
        call = call | {"output_type": "latent"} | stack.enter_context(unguided(pipe))
        run = stack.enter_context(running(pipe, recipe, True))
        recorders = [stack.enter_context(ConceptRecorder(pipe, run, asked, call)) for asked in questions]
        for level in [None] if steps is None else steps:
            with one_step(pipe, level, recorders), noisy_input(pipe, given, noise):
                pipe(prompt=prompt, **call)
    return recorders
