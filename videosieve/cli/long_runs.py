"""What is said before a long generation, so that nobody waits an hour to learn that it takes ten."""

import inspect
from typing import TYPE_CHECKING, Any

from videosieve.cli.console import note, scaled
from videosieve.cli.progress import clock_words
from videosieve.errors import VideosieveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from videosieve.generation.generate import Progress as Position
    from videosieve.generation.request import Request
    from videosieve.recipe import Recipe

LONG = 60.0
"""Seconds of denoising from which a generation is long."""


def announce(pipe: Any, model: str, request: "Request", recipe: "Recipe") -> None:
    """A line to stderr with size, tokens and work; nothing for the bundled models, whose videos take seconds, and for
    models whose work cannot be counted.

    Args:
        pipe: The loaded pipeline, whose own sizes hold where the request has none.
        model: As it was asked for.
        request: What to generate.
        recipe: Which attention is computed.
    """
    from videosieve.generation.load import is_shapes
    from videosieve.planning.budget import make_budget, tokens_in_words

    if is_shapes(model):
        return
    usual = {name: one.default for name, one in inspect.signature(type(pipe).__call__).parameters.items()}
    sizes = {
        "frames": request.frames or usual.get("num_frames"),
        "height": request.height or usual.get("height"),
        "width": request.width or usual.get("width"),
        "steps": request.steps or usual.get("num_inference_steps"),
    }
    if not all(isinstance(value, int) for value in sizes.values()):
        return
    try:
        budget = make_budget(model, recipe, **sizes)  # pyright: ignore[reportArgumentType]
    except VideosieveError:
        return
    work = budget.work
    size = f"{sizes['frames']} frames of {sizes['width']} × {sizes['height']} pixels"
    dense = f"{scaled(budget.total, 'FLOPs')} if dense, attention {work.share:.0%} of it"
    note(f"{size}: {tokens_in_words(work.layout)} tokens, {sizes['steps']} steps, {dense}")


def tell_length(show: "Callable[[Position], None]") -> "Callable[[Position], None]":
    """The same listener, which says after the first step how long all will take, where that is long.

    Args:
        show: Told every position.
    """

    def told(position: "Position") -> None:
        if position.step == 1 and position.seconds_left is not None and position.seconds_left > LONG:
            note(
                f"about {clock_words(position.seconds_left)} left for {position.steps - 1} more steps; "
                f"Ctrl-C leaves nothing behind"
            )
        show(position)

    return told
