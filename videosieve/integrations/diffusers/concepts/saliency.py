"""`saliency`: where in a video a pipeline sees each concept, while it generates or for a video that is given."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod, normalise_concepts
from videosieve.errors import IntegrationError, PromptError, ShapeError
from videosieve.integrations.diffusers.clips import frame_of, running, to_video
from videosieve.integrations.diffusers.clock import bind_forward
from videosieve.integrations.diffusers.concepts.question import NOISE, Question, choose_steps
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
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
    """Generate a video and say where in it each concept is.

    The video is the same, bit for bit, as without concepts: the pipeline's own, or that of the recipe. Under guidance
    the conditional branch is looked at.

    Args:
        pipe: A diffusers video pipeline; see `MODELS`.
        prompt: What the video shows.
        concepts: Words or phrases to look for; they need not be in the prompt. Maps are relative to one another, so
            give a background concept as well.
        layers: Self-attentions to average, in call order; None takes those that `pipe.config["saliency_layers"]` names
            for the method, or all.
        steps: Denoising steps to average, from 0; None takes those at a middle noise level.
        method: "concept", "cross_attention", or a `SaliencyMethod` with its parameters.
        recipe: None leaves attention to the pipeline; a recipe computes it as `sparsify` would; the run of a pipeline
            that is sparse already.
        **call: Arguments of the pipeline's call: steps, size, seed, guidance. With `video`, a tensor
            [frames, 3, height, width] in [0, 1], nothing is generated: see `saliency_of_video`.

    Returns:
        The maps, with the video.

    Raises:
        PromptError: No concept, one twice, or a word that the model refuses.
        IntegrationError: The model has no such maps, or layers or steps are out of range.
    """
    if not isinstance(prompt, str) or call.get("num_videos_per_prompt", 1) != 1:
        raise PromptError(
            f"saliency looks at one video of one prompt, got {prompt!r}; call it once per video"
        )
    question = make_question(concepts, method, layers, steps)
    given: dict[str, Any] = {**call}
    if (video := given.pop("video", None)) is not None:
        return saliency_of_video(pipe, video, prompt, [question], recipe=recipe, **given)[0]
    given.setdefault("output_type", "pt")
    with running(pipe, recipe) as run, ConceptRecorder(pipe, run, question, given) as recorder:
        frames = pipe(prompt=prompt, **given).frames
    clip = None if given["output_type"] == "latent" else to_video(frames)
    return recorder.result(0, clip, () if clip is None else frame_of(pipe, len(clip), recorder.grid))


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
    given = _encode(pipe, video)
    call |= _unguided(pipe) | {"num_frames": len(video), "height": video.shape[2], "width": video.shape[3]}
    call |= {"output_type": "latent", "latents": given}
    noise = torch.randn(given.shape, generator=call.get("generator"), dtype=given.dtype).to(given.device)
    steps = questions[0].steps
    with ExitStack() as stack:
        run = stack.enter_context(running(pipe, recipe))
        recorders = [stack.enter_context(ConceptRecorder(pipe, run, asked, call)) for asked in questions]
        for level in [None] if steps is None else steps:
            with _one_step(pipe, level, recorders), _noisy_input(pipe, given, noise):
                pipe(prompt=prompt, **call)
    clip = video.float().cpu()
    covering = frame_of(pipe, len(clip), recorders[0].grid)
    return [recorder.result(0, clip, covering) for recorder in recorders]


def _encode(pipe: Any, video: Tensor) -> Tensor:
    """A video as clean latents in the axes of the model's `hidden_states`."""
    vae: Any = getattr(pipe, "vae", None)
    packed = getattr(pipe, "vae_scale_factor_temporal", 1)
    if not hasattr(vae, "encode"):
        raise IntegrationError(
            f"{type(pipe).__name__} has no VAE that encodes videos; it can only generate them"
        )
    if video.ndim != 4 or video.shape[1] != 3 or (len(video) - 1) % packed:
        raise ShapeError(
            f"a given video must be [frames, 3, height, width] with frames = {packed} × n + 1, got {list(video.shape)}"
        )
    target = describe(pipe)[0]
    config: Any = target.transformer.config
    pixels = (video * 2 - 1).permute(1, 0, 2, 3)[None].to(vae.device, vae.dtype)
    latents = vae.encode(pixels).latent_dist.mode()
    if (mean := vae.config.get("latents_mean")) is not None:
        mean, std = (
            torch.tensor(x).view(1, -1, 1, 1, 1).to(latents) for x in (mean, vae.config["latents_std"])
        )
        latents = (latents - mean) / std
    else:
        latents = latents * vae.config["scaling_factor"]
    if target.row.axes == "BTCHW":
        latents = latents.transpose(1, 2)
        spare = -latents.shape[1] % (config["patch_size_t"] or 1)
        latents = torch.cat([latents[:, :1].expand(-1, spare, -1, -1, -1), latents], 1)
    if latents.shape[target.row.axes.index("C")] != config["in_channels"]:
        raise IntegrationError(f"{type(pipe).__name__} continues an image; use its text-to-video pipeline")
    return latents.float()


def _unguided(pipe: Any) -> dict[str, float]:
    """The call's argument that turns guidance off; HunyuanVideo has two and embeds the other."""
    calls = (vars(cls)["__call__"] for cls in type(pipe).__mro__ if "__call__" in vars(cls))
    known = {name for call in calls for name in inspect.signature(call).parameters}
    return {"true_cfg_scale" if "true_cfg_scale" in known else "guidance_scale": 1.0}


@contextmanager
def _one_step(pipe: Any, level: int | None, recorders: list[ConceptRecorder]) -> Iterator[None]:
    """Make the next call of the pipeline one denoising step long: the one with index `level`."""
    scheduler = pipe.scheduler
    original: Callable[..., None] = scheduler.set_timesteps

    @functools.wraps(original)  # pipelines look at the signature
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        times, middle = scheduler.timesteps, sum(NOISE) / 2 * scheduler.config.num_train_timesteps
        nearest = int((times.float() - middle).abs().argmin())
        (step,) = choose_steps((nearest if level is None else level,), scheduler, len(times))
        for recorder in recorders:
            recorder.label = step
        scheduler.timesteps = times[step : step + 1]
        if len(getattr(scheduler, "sigmas", ())) == len(times) + 1:
            scheduler.sigmas = scheduler.sigmas[step : step + 2]

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        del scheduler.set_timesteps


@contextmanager
def _noisy_input(pipe: Any, given: Tensor, noise: Tensor) -> Iterator[None]:
    """Hand every transformer the given latents at the noise level of its timestep."""
    scheduler = pipe.scheduler
    add = getattr(scheduler, "scale_noise", None)
    handles = []
    for target in describe(pipe):
        bind = bind_forward(target.transformer)

        def before(module: Any, args: Any, kwargs: Any, bind: Any = bind) -> tuple[tuple[()], dict[str, Any]]:
            del module
            arguments, time = bind(args, kwargs), scheduler.timesteps[:1]
            noisy = add(given, time, noise) if add else scheduler.add_noise(given, noise, time)
            return (), arguments | {"hidden_states": noisy.to(arguments["hidden_states"])}

        handles.append(target.transformer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
