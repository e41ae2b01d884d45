"""What a person asks for, and how a pipeline takes it: every option is honoured or refused."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from videosieve.errors import ModelError, PromptError
from videosieve.fields import Extent, In, Seed, Steps, check_fields, shown
from videosieve.files import is_file, open_picture
from videosieve.integrations.diffusers.models import IMAGES

Guidance = Annotated[float, In("[0, inf)", "must be finite and at least 0")]


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate. None leaves a value to the pipeline.

    Attributes:
        prompt: What the video shows.
        negative_prompt: What it should not show; empty for none.
        image: First frame, for image-to-video pipelines.
        steps: Denoising steps, at least 1.
        seed: Seed of the initial noise, drawn on the CPU so that it is the same on every device.
        height: Pixels.
        width: Pixels.
        frames: Video frames.
        guidance: Guidance scale: classifier-free where a negative prompt is given or the model embeds no scale, else
            as the pipeline defines it.

    Raises:
        ModelError: A number is outside its range, or the image does not exist.
    """

    prompt: str
    negative_prompt: str = ""
    image: Path | None = None
    steps: Steps | None = None
    seed: Seed = 0
    height: Extent | None = None
    width: Extent | None = None
    frames: Extent | None = None
    guidance: Guidance | None = None

    def __post_init__(self) -> None:
        check_fields(self, ModelError)
        if self.image is not None and not is_file(self.image):
            raise ModelError(f"image {shown(str(self.image))} does not exist; give a PNG or JPEG file")


def choose_prompt(*texts: str | None) -> str:
    """The one text that was given.

    Args:
        *texts: The prompt as argument and as option; None for not given.

    Returns:
        The prompt.

    Raises:
        PromptError: None was given, or several.
    """
    given = [text for text in texts if text is not None]
    if len(given) != 1 or not given[0].strip():
        raise PromptError(f"give one prompt, as argument or with --prompt; got {len(given)}: {given}")
    return given[0]


def default_steps(pipe: Any) -> int:
    """Denoising steps that the pipeline takes if nobody says otherwise."""
    return call_parameters(pipe)["num_inference_steps"].default


def pipeline_arguments(pipe: Any, request: Request) -> dict[str, Any]:
    """The request as keyword arguments of a pipeline.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.

    Returns:
        Arguments of its `__call__`.

    Raises:
        ModelError: The pipeline lacks an argument that the request sets, or needs an image and gets none.
    """
    known = call_parameters(pipe)
    wanted = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or None,
        "num_inference_steps": request.steps,
        "height": request.height,
        "width": request.width,
        "num_frames": request.frames,
        _guidance_argument(pipe, request): request.guidance,
        "image": _load_image(request.image),
    }
    arguments = {key: value for key, value in wanted.items() if value is not None}
    if lacking := [key for key in arguments if key not in known]:
        raise ModelError(f"{type(pipe).__name__} takes no {' and no '.join(lacking)}; leave that option out")
    makes_images = type(getattr(pipe, "transformer", None)).__name__ in IMAGES  # Flux.2 may go by pictures
    if "image" in known and request.image is None and not makes_images:
        raise ModelError(f"{type(pipe).__name__} continues an image; give one (--image)")
    return {**arguments, "generator": torch.Generator().manual_seed(request.seed), "output_type": "pt"}


def _guidance_argument(pipe: Any, request: Request) -> str:
    """Which argument of the pipeline `guidance` means.

    HunyuanVideo has two: an embedded scale, which some models lack, and classifier-free guidance, off by default,
    without which a negative prompt does nothing.
    """
    embedded = getattr(getattr(pipe, "transformer", None), "config", {}).get("guidance_embeds", True)
    if "true_cfg_scale" not in call_parameters(pipe) or (embedded and not request.negative_prompt):
        return "guidance_scale"
    if request.negative_prompt and (request.guidance or 1.0) <= 1:
        raise ModelError(
            f"a negative prompt does nothing in {type(pipe).__name__} without guidance above 1, "
            f"got {request.guidance}; give --guidance, for example 3"
        )
    return "true_cfg_scale"


def call_parameters(pipe: Any) -> dict[str, inspect.Parameter]:
    """Parameters of a pipeline's call, those that it hands to its parent class with **kwargs included."""
    parameters: dict[str, inspect.Parameter] = {}
    for cls in type(pipe).__mro__:
        if "__call__" in vars(cls):
            own = inspect.signature(vars(cls)["__call__"]).parameters
            parameters = {**own, **parameters}
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in own.values()):
                break
    return parameters


def _load_image(path: Path | None) -> Any:
    if path is None:
        return None
    with open_picture(path, "the image", ModelError) as image:
        return image.convert("RGB")
