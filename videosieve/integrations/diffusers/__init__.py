"""Sparse attention inside diffusers video pipelines, in place and reversible.

    from videosieve.integrations.diffusers import sparsify
    with sparsify(pipe, "svg", density=0.3) as run:
        video = pipe(prompt).frames[0]
    print(run.summary())

`MODELS` is the table of known transformers; `describe` says what would be hooked; `register_model` adds a class of your
own, whose `ModelRow` may have `Text`, `Extra`, `Condition` and `Cut` parts.
"""

from videosieve.integrations.diffusers.concepts.saliency import saliency
from videosieve.integrations.diffusers.inspection import inspect_attention
from videosieve.integrations.diffusers.models import (
    MODELS,
    Condition,
    Cut,
    Extra,
    ModelRow,
    Text,
    frame_rate_of,
    register_model,
    start_of,
)
from videosieve.integrations.diffusers.sparsify import sparsify
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.integrations.diffusers.ulysses.enable import enable_ulysses

__all__ = [
    "MODELS",
    "Condition",
    "Cut",
    "Extra",
    "ModelRow",
    "Target",
    "Text",
    "describe",
    "enable_ulysses",
    "frame_rate_of",
    "inspect_attention",
    "register_model",
    "saliency",
    "sparsify",
    "start_of",
]
