"""Saliency from a request to files: maps, videos and a page."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.errors import ModelError
from videosieve.finite import require_finite
from videosieve.generation.footage import read_footage, read_picture
from videosieve.generation.media import make_folder, write_poster, write_video
from videosieve.generation.model_index import is_bundled, makes_images
from videosieve.generation.refusals import told_as_model_error, why_not_finite
from videosieve.generation.request import Request, pipeline_arguments
from videosieve.planning.machine import describe_versions
from videosieve.recipe import Recipe
from videosieve.report.page import Colophon, number_words
from videosieve.report.saliency import About, write_saliency_page

PAGE = "saliency.html"


def parse_method(name: str, temperature: float, **switches: str) -> SaliencyMethod:
    """A method from words; a RecipeError says what there is.

    Args:
        name: "concept" or "cross_attention".
        temperature: Of the softmax.
        **switches: Other fields of `SaliencyMethod`; sight also by layer, as "both:0,none:2-3".
    """
    chosen: dict[str, Any] = {"name": name, "temperature": temperature, **switches}
    if ":" in switches.get("sight", ""):
        chosen["sight"] = _parse_sights(switches["sight"])
    return SaliencyMethod(**chosen)


def _parse_sights(text: str) -> tuple[tuple[int, str], ...]:
    """ "both:0,none:2-3" as layers with their sights; a comma without a colon behind it goes on with the same one."""
    parts: list[tuple[str, str]] = []
    for part in text.split(","):
        sight, colon, places = part.rpartition(":")
        if colon:
            parts.append((sight.strip(), places))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]},{part}")
        else:
            raise ModelError(f"sight by layer must begin with a sight, as both:0,none:2-3; got {text!r}")
    return tuple(
        (layer, sight)
        for sight, places in parts
        for layer in parse_indices("layers of a sight", places) or ()
    )


def default_keep(model: str) -> str:
    """Which maps are kept to step through where nobody says: as many as cost next to nothing."""
    return "sites" if is_bundled(model) else "layers" if makes_images(model) else "mean"


def parse_indices(what: str, text: str | None) -> tuple[int, ...] | None:
    """Read indices like "0,2,3" and ranges like "15-18", both ends included; None stays None.

    Raises:
        ModelError: Something else.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdecimal() for end in ends) or int(ends[0]) > int(ends[-1]):
            raise ModelError(f"{what} must be indices like 0,2,3 or ranges like 15-18; got {text!r}")
        found += range(int(ends[0]), int(ends[-1]) + 1)
    return tuple(dict.fromkeys(found))


def read_given(
    model: str, *, video: Path | None, picture: Path | None, request: Request, fps: float | None = None
) -> Tensor | None:
    """What is to be looked at instead of something generated; options that do not fit are refused before it is read.

    Args:
        model: As `load_pipeline` takes it.
        video: A video file, an animation or a folder of pictures.
        picture: A picture.
        request: Its frames are those to read, its size that of a picture.
        fps: As far as given.

    Returns:
        A video [frames, 3, height, width] as it is, a picture [3, height, width] at the size asked for, or None.

    Raises:
        ModelError: An option of videos with an image model, a picture with a video model, guidance, or a file that
            cannot be read.
    """
    images = makes_images(model)
    options = {"video": video, "frames": request.frames, "fps": fps, "picture": picture}
    names = ("video", "frames", "fps") if images else ("picture",)
    if wrong := [f"--{name}" for name in names if options[name] is not None]:
        raise ModelError(
            f"{model!r} makes {'images' if images else 'videos'} and takes no {' and no '.join(wrong)}; leave that "
            f"out, or give --{'picture' if images else 'video'}"
        )
    if request.guidance is not None and (video or picture) is not None:
        raise ModelError("what is given is looked at without guidance; leave --guidance out")
    if video is not None:
        return read_footage(video, request.frames)
    return None if picture is None else read_picture(picture, request.height, request.width)


def find_saliency(
    pipe: Any,
    request: Request,
    concepts: list[str],
    method: SaliencyMethod,
    *,
    layers: tuple[int, ...] | None = None,
    look_at: tuple[int, ...] | None = None,
    recipe: Recipe | None = None,
    given: Tensor | None = None,
) -> SaliencyMaps:
    """Generate a video or an image, or take a given one, and look for concepts in it.

    Args:
        pipe: A diffusers pipeline of videos or images.
        request: What to generate.
        concepts: Words or phrases.
        method: How saliency is computed.
        layers: Self-attentions to average; None takes all.
        look_at: Denoising steps to average; None takes those at middle noise levels.
        recipe: What attention is computed; None leaves it to the pipeline.
        given: A given video as `fit_footage` returns it, or an image [3, height, width] in [0, 1]; nothing is generated
            then, and size, frames and guidance of the request are not used.

    Returns:
        The maps, with the video or image.

    Raises:
        ModelError: The pipeline refuses the request.
    """
    from videosieve.integrations.diffusers import saliency

    if given is not None:
        request = replace(request, height=None, width=None, frames=None, guidance=None)
    arguments: dict[str, Any] = pipeline_arguments(pipe, request)
    arguments |= {} if given is None else {"picture" if given.ndim == 3 else "video": given}
    with told_as_model_error(pipe):
        found = saliency(
            pipe, arguments.pop("prompt"), concepts, layers=layers, steps=look_at, method=method, recipe=recipe,
            **arguments,
        )  # fmt: skip
    require_finite(f"the frames of {type(pipe).__name__}", found.video, why_not_finite(pipe))
    return found


def write_saliency(
    found: SaliencyMaps, folder: Path, prompt: str, fps: float, about: Mapping[str, Any] | None = None
) -> Path:
    """Write maps, the video or image, its overlays and a page.

    Args:
        found: Maps with their video.
        folder: Made if missing; files of these names in it are replaced.
        prompt: What it shows, for the page.
        fps: Frames per second of the videos.
        about: Of where they are from, for the page: `model`, `seed` and `command`, as far as known.

    Returns:
        The page.

    Raises:
        OutputError: The folder or a file in it cannot be written.
        ShapeError: The maps have no video.
    """
    make_folder(folder)
    overlay = found.overlay()
    clips = {"image" if found.of_image else "video": found.overlay(strength=0.0), "overlay": overlay}
    clips |= {f"concept-{i}": found.overlay(concept=concept) for i, concept in enumerate(found.concepts)}
    for name, frames in clips.items():
        if found.of_image:
            write_poster(frames, folder / f"{name}.png")
        else:
            write_video(frames, folder / f"{name}.mp4", fps)
    if not found.of_image:
        write_poster(overlay, folder / "overlay.png")
    found.save(folder / "saliency.safetensors")
    picture = folder / ("image.png" if found.of_image else "video.mp4")
    said = About(
        prompt, picture, 0.0 if found.of_image else fps, _facts(found, about or {}), _colophon(about or {})
    )
    write_saliency_page(found, said, folder / PAGE)
    return folder / PAGE


def _colophon(about: Mapping[str, Any]) -> Colophon:
    known = {key: str(about[key]) for key in ("model", "seed", "command") if about.get(key) is not None}
    return Colophon(**known, versions=describe_versions())


def _facts(found: SaliencyMaps, about: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Name, value and small print of what stands at the head of the page."""
    layers, steps = (number_words(numbers) for numbers in (found.layers, found.steps))
    grid = " × ".join(map(str, found.maps.shape[1:]))
    seed = about.get("seed")
    return (
        ("model", str(about.get("model", "unknown")), "" if seed is None else f"seed {seed}"),
        ("method", found.method, "raw scores" if found.raw else "probabilities over the concepts"),
        ("averaged", f"layers {layers}", f"steps {steps}"),
        ("maps", f"{grid} tokens", f"{len(found.concepts)} concepts"),
    )
