"""An inspection from a request to files: a page, and a picture of every head that was looked at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videosieve.finite import require_finite
from videosieve.generation.media import make_folder
from videosieve.generation.refusals import told_as_model_error, why_not_finite
from videosieve.generation.request import Request, pipeline_arguments
from videosieve.inspection import Inspection
from videosieve.planning.machine import describe_versions
from videosieve.recipe import Recipe

PAGE = "inspection.html"
Indices = tuple[int, ...] | None


def find_attention(
    pipe: Any,
    request: Request,
    *,
    layers: Indices = None,
    heads: Indices = None,
    look_at: Indices = None,
    recipe: Recipe | None = None,
) -> Inspection:
    """Generate a video and look at its attention.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        layers: Self-attentions with maps; None takes the first, the middle and the last.
        heads: Heads with maps; None takes up to four.
        look_at: Denoising steps; None takes the middle one.
        recipe: What attention is computed; None leaves it to the pipeline.

    Returns:
        What was seen, with the video.

    Raises:
        ModelError: The pipeline refuses the request.
    """
    from videosieve.integrations.diffusers import inspect_attention

    arguments = pipeline_arguments(pipe, request)
    with told_as_model_error(pipe):
        found = inspect_attention(
            pipe,
            arguments.pop("prompt"),
            layers=layers,
            heads=heads,
            steps=look_at,
            recipe=recipe,
            **arguments,
        )
    require_finite(f"the frames of {type(pipe).__name__}", found.video, why_not_finite(pipe))
    return found


def write_inspection(found: Inspection, folder: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write the page, a PNG of every layer, head and step, and one of all heads at every step.

    Args:
        found: What was seen.
        folder: Made if missing; files of these names in it are replaced.
        about: Of where it is from, for the foot of the page: `model`, `seed` and `command`, as far as known.

    Returns:
        The page.

    Raises:
        OutputError: The folder or a file in it cannot be written, or the page would be too large.
    """
    from videosieve.report.inspection import write_inspection_page
    from videosieve.report.page import Colophon
    from videosieve.report.pictures.inspection import plot_heads, plot_reading

    folder = Path(folder)
    make_folder(folder)
    said = {
        "model": found.model,
        **{key: str(value) for key, value in (about or {}).items() if value is not None},
    }
    write_inspection_page(found, folder / PAGE, Colophon(**said, versions=describe_versions()))
    for spot in found.readings:
        plot_reading(
            found, spot, folder / f"layer{spot.layer:02d}-head{spot.head:02d}-step{spot.step:02d}.png"
        )
    for step in found.steps:
        plot_heads(found, step, folder / f"heads-step{step:02d}.png")
    return folder / PAGE
