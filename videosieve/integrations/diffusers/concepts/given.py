"""A video or an image that is given: encoded, made noisy, and handed to the transformer in one step of a pipeline."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import IntegrationError, ShapeError
from videosieve.integrations.diffusers.clips import frames_per_latent
from videosieve.integrations.diffusers.clock import bind_forward
from videosieve.integrations.diffusers.concepts.question import NOISE, choose_steps, noise_levels
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
from videosieve.integrations.diffusers.targets import describe


def encode_video(pipe: Any, video: Tensor) -> Tensor:
    """A video as clean latents in the axes of the model's `hidden_states`."""
    vae: Any = getattr(pipe, "vae", None)
    packed = frames_per_latent(pipe) or 1
    if not hasattr(vae, "encode"):
        raise IntegrationError(
            f"{type(pipe).__name__} has no VAE that encodes videos; it can only generate them"
        )
    if video.ndim != 4 or video.shape[1] != 3 or (len(video) - 1) % packed:
        raise ShapeError(
            f"a given video must be [frames, 3, height, width] with frames = {packed} × n + 1, got {list(video.shape)}"
        )
    target, known = describe(pipe)[0], inspect.signature(type(pipe).__call__).parameters
    if "image" in known and known["image"].default is inspect.Parameter.empty:
        raise IntegrationError(f"{type(pipe).__name__} continues an image; use its text-to-video pipeline")
    if not any(hasattr(pipe.scheduler, name) for name in ("scale_noise", "add_noise")):
        raise IntegrationError(
            f"a given video is made as noisy as the scheduler says, and {type(pipe.scheduler).__name__} does not; "
            f"{type(pipe).__name__} can only generate"
        )
    pixels = (video * 2 - 1).permute(1, 0, 2, 3)[None].to(vae.device, vae.dtype)
    latents = _normalised(vae, vae.encode(pixels).latent_dist.mode())
    patch, *_ = target.row.patch_sides(target.transformer.config)  # type: ignore[arg-type]
    if target.row.axes == "BTCHW":
        latents = latents.transpose(1, 2)
        latents = torch.cat([latents[:, :1].expand(-1, -latents.shape[1] % patch, -1, -1, -1), latents], 1)
    elif target.row.axes == "BTHWC":
        latents = latents.permute(0, 2, 3, 4, 1)
    elif target.row.axes == "BNC":
        sides = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
        latents = pipe._pack_latents(latents, *sides)
    return latents.float()


def encode_image(pipe: Any, image: Tensor) -> Tensor:
    """An image as clean latents, as the transformer takes them: its list, where it takes one, as one tensor.

    Args:
        pipe: A diffusers image pipeline.
        image: [3, height, width] in [0, 1]; sides that the model takes.

    Raises:
        ShapeError: It has another shape.
        IntegrationError: The pipeline has no VAE that encodes.
    """
    vae: Any = getattr(pipe, "vae", None)
    if not hasattr(vae, "encode"):
        raise IntegrationError(
            f"{type(pipe).__name__} has no VAE that encodes images; it can only generate them"
        )
    row = describe(pipe, images=True)[0].row
    side = pipe.vae_scale_factor * (1 if row.name == "HunyuanImageTransformer2DModel" else 2)
    if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] % side or image.shape[2] % side:
        raise ShapeError(
            f"a given image must be [3, height, width] with sides that are multiples of {side} pixels, got "
            f"{list(image.shape)}"
        )
    pixels = (image * 2 - 1)[None].to(vae.device, vae.dtype)
    if row.name == "Flux2Transformer2DModel":
        return pipe._pack_latents(pipe._encode_vae_image(pixels, None)).float()
    flat = row.name != "QwenImageTransformer2DModel"  # its VAE is one of videos
    latents = _normalised(vae, vae.encode(pixels if flat else pixels[:, :, None]).latent_dist.mode())
    if row.axes == "BNC":
        sides = latents.shape[-2:]
        latents = pipe._pack_latents(latents, 1, latents.shape[1], *sides)
    return (latents[:, :, None] if row.name == "ZImageTransformer2DModel" else latents).float()


def _normalised(vae: Any, latents: Tensor) -> Tensor:
    buffers = dict(vae.named_buffers(recurse=False))  # LTX has them there
    own = [buffers.get(name, vae.config.get(name)) for name in ("latents_mean", "latents_std")]
    if own[0] is not None:
        mean, std = (torch.as_tensor(x).view(1, -1, *[1] * (latents.ndim - 2)).to(latents) for x in own)
        return (latents - mean) / std
    return (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config["scaling_factor"]


@contextmanager
def unguided(pipe: Any) -> Iterator[dict[str, float]]:
    """The call's arguments that turn guidance off: a second forward, or a second half of a batch.

    HunyuanVideo and Flux have two and embed the other. Where a guider does it, that is off meanwhile.
    """
    calls = (vars(cls)["__call__"] for cls in type(pipe).__mro__ if "__call__" in vars(cls))
    known = {name for call in calls for name in inspect.signature(call).parameters}
    guiders = [x for name in ("guider", "ocr_guider") if (x := getattr(pipe, name, None)) is not None]
    before = [(guider, guider._enabled) for guider in guiders]
    for guider in guiders:
        guider._enabled = False
    try:
        if "true_cfg_scale" in known:
            yield {"true_cfg_scale": 1.0}
        elif "guidance_scale" in known and not embeds_guidance(pipe):
            yield {"guidance_scale": 0.0 if type(pipe).__name__.startswith("ZImage") else 1.0}
        else:
            yield {}
    finally:
        for guider, enabled in before:
            guider._enabled = enabled


def embeds_guidance(pipe: Any) -> bool:
    """Whether the model was distilled to take the scale of guidance as an input."""
    return bool(getattr(getattr(pipe, "transformer", None), "config", {}).get("guidance_embeds", False))


@contextmanager
def one_step(pipe: Any, level: int | None, recorders: list[ConceptRecorder]) -> Iterator[None]:
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
            recorder.noise |= {step: noise_levels(scheduler)[step]}
        scheduler.timesteps = times[step : step + 1]
        if len(getattr(scheduler, "sigmas", ())) == len(times) + 1:
            scheduler.sigmas = scheduler.sigmas[step : step + 2]

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        del scheduler.set_timesteps


@contextmanager
def noisy_input(pipe: Any, given: Tensor, noise: Tensor) -> Iterator[None]:
    """Hand every transformer the given latents at the noise level of its timestep."""
    scheduler = pipe.scheduler
    add = getattr(scheduler, "scale_noise", None)
    handles = []
    for target in describe(pipe, images=True):
        bind, row = bind_forward(target.transformer), target.row

        def before(
            module: Any, args: Any, kwargs: Any, bind: Any = bind, row: Any = row
        ) -> tuple[tuple[()], dict[str, Any]]:
            del module
            arguments, time = bind(args, kwargs), scheduler.timesteps[:1]
            noisy = add(given, time, noise) if add else scheduler.add_noise(given, noise, time)
            if row.sequence == "listed":
                return (), arguments | {row.latents: [item.to(arguments[row.latents][0]) for item in noisy]}
            there: Tensor = arguments[row.latents]
            # Pictures to go by follow in the sequence of packed latents; conditions are further channels of others.
            axis = row.axes.index("N" if there.ndim == 3 else "C")
            return (), arguments | {row.latents: _in_the_place(pipe, there, noisy, axis)}

        handles.append(target.transformer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_the_place(pipe: Any, there: Tensor, noisy: Tensor, axis: int) -> Tensor:
    """The noisy latents where the pipeline has its own, with what follows along an axis."""
    own, new = list(there.shape), list(noisy.shape)
    if own[:axis] + own[axis + 1 :] != new[:axis] + new[axis + 1 :] or own[axis] < new[axis]:
        raise IntegrationError(
            f"{type(pipe).__name__} takes latents {own}, and the given video has {new}: it does not make its latents "
            f"as videos are encoded, so that it can only generate"
        )
    rest = there.narrow(axis, new[axis], own[axis] - new[axis])
    return torch.cat([noisy.to(there), rest], axis)
