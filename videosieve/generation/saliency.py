"""Saliency from a request to files: maps, videos and a page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.concepts.maps import COLOURS
from videosieve.errors import ModelError
from videosieve.finite import require_finite
from videosieve.generation.media import make_folder, write_poster, write_video
from videosieve.generation.refusals import told_as_model_error, why_not_finite
from videosieve.generation.request import Request, pipeline_arguments
from videosieve.recipe import Recipe
from videosieve.report.saliency import Panel, write_saliency_page

PAGE = "saliency.html"


def parse_method(name: str, temperature: float) -> SaliencyMethod:
    """A method from words; a RecipeError says what there is."""
    chosen: Any = name
    return SaliencyMethod(chosen, temperature)


def parse_indices(what: str, text: str | None) -> tuple[int, ...] | None:
    """Read indices like "0,2,3"; None stays None.

    Raises:
        ModelError: Something else.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ModelError(f"{what} must be indices like 0,2,3; got {text!r}")
    return tuple(map(int, parts))


def find_saliency(
    pipe: Any,
    request: Request,
    concepts: list[str],
    method: SaliencyMethod,
    *,
    layers: tuple[int, ...] | None = None,
    look_at: tuple[int, ...] | None = None,
    recipe: Recipe | None = None,
    video: Tensor | None = None,
) -> SaliencyMaps:
    """Generate a video, or take a given one, and look for concepts in it.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        concepts: Words or phrases.
        method: How saliency is computed.
        layers: Self-attentions to average; None takes all.
        look_at: Denoising steps to average; None takes those at middle noise levels.
        recipe: What attention is computed; None leaves it to the pipeline.
        video: A given video as `fit_footage` returns it; nothing is generated then, and size, frames and guidance of
            the request are not used.

    Returns:
        The maps, with the video.

    Raises:
        ModelError: The pipeline refuses the request.
    """
    from videosieve.integrations.diffusers import saliency

    if video is not None:
        request = replace(request, height=None, width=None, frames=None, guidance=None)
    arguments: dict[str, Any] = pipeline_arguments(pipe, request)
    arguments |= {} if video is None else {"video": video}
    with told_as_model_error(pipe):
        found = saliency(
            pipe, arguments.pop("prompt"), concepts, layers=layers, steps=look_at, method=method, recipe=recipe,
            **arguments,
        )  # fmt: skip
    require_finite(f"the frames of {type(pipe).__name__}", found.video, why_not_finite(pipe))
    return found


def write_saliency(found: SaliencyMaps, folder: Path, prompt: str, fps: float) -> Path:
    """Write maps, the video, its overlays and a page.

    Args:
        found: Maps with their video.
        folder: Made if missing; files of these names in it are replaced.
        prompt: What the video shows, for the page.
        fps: Frames per second of the videos.

    Returns:
        The page.

    Raises:
        OutputError: The folder or a file in it cannot be written.
        ShapeError: The maps have no video.
    """
    make_folder(folder)
    overlay = found.overlay()
    clips = {"video": found.overlay(strength=0.0), "overlay": overlay}
    clips |= {f"concept-{i}": found.overlay(concept=concept) for i, concept in enumerate(found.concepts)}
    for name, frames in clips.items():
        write_video(frames, folder / f"{name}.mp4", fps)
    write_poster(overlay, folder / "overlay.png")
    found.save(folder / "saliency.safetensors")
    panels = [Panel("the video", folder / "video.mp4"), Panel("all concepts", folder / "overlay.mp4")]
    panels += [
        Panel(concept, folder / f"concept-{i}.mp4", _css(COLOURS[i % len(COLOURS)]))
        for i, concept in enumerate(found.concepts)
    ]
    write_saliency_page(panels, prompt, _describe(found), folder / PAGE)
    return folder / PAGE


def _describe(found: SaliencyMaps) -> str:
    layers, steps = (", ".join(map(str, numbers)) for numbers in (found.layers, found.steps))
    grid = " × ".join(map(str, found.maps.shape[1:]))
    return f"Method {found.method}, layers {layers}, steps {steps}, maps of {grid} tokens."


def _css(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)
