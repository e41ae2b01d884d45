"""Results before the first video: what is compared, on what, with what."""

import datetime
from pathlib import Path
from typing import Any

import torch

from videosieve.comparison.plan import Plan
from videosieve.files import is_folder
from videosieve.generation.generate import WARM_UP_STEPS
from videosieve.generation.parts import execution_device
from videosieve.generation.request import default_steps
from videosieve.planning.machine import describe_machine, describe_versions
from videosieve.report import Results

DIFFERENCE_GAIN = 4.0
VARIES = "differs from prompt to prompt"


def blank_results(pipe: Any, plan: Plan) -> Results:
    """Results of a comparison that has not begun.

    Args:
        pipe: A diffusers video pipeline.
        plan: What to compare.

    Returns:
        Results without videos; the size of the videos is what was asked, None where the pipeline decides.
    """
    first = plan.requests[0]
    negatives = {request.negative_prompt for request in plan.requests}
    return Results(
        model=Path(plan.model).name if is_folder(plan.model) else plan.model,
        pipeline=type(pipe).__name__,
        machine=describe_machine(torch.device(execution_device(pipe))),
        versions=describe_versions(),
        settings={
            "steps": first.steps or default_steps(pipe),
            "height": first.height,
            "width": first.width,
            "frames": first.frames,
            "guidance": first.guidance,
            "negative_prompt": first.negative_prompt if len(negatives) == 1 else VARIES,
            "dtype": str(pipe.dtype).removeprefix("torch."),
            "repeats": plan.repeats,
            "warm_up_steps": WARM_UP_STEPS,
            "fps": plan.fps,
            "difference_gain": DIFFERENCE_GAIN,
        },
        recipes={name: recipe.to_toml() for name, recipe in plan.recipes.items()},
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=plan.command,
    )
