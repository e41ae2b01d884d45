"""Sparse attention inside diffusers video pipelines, in place and reversible.

    from videosieve.integrations.diffusers import sparsify
    with sparsify(pipe, "svg", density=0.3) as run:
        video = pipe(prompt).frames[0]
    print(run.summary())

`MODELS` is the table of supported transformers; `describe` says what would be hooked.
"""

from videosieve.integrations.diffusers.concepts.saliency import saliency
from videosieve.integrations.diffusers.inspection import inspect_attention
from videosieve.integrations.diffusers.models import MODELS, ModelRow
from videosieve.integrations.diffusers.sparsify import sparsify
from videosieve.integrations.diffusers.targets import Target, describe

__all__ = ["MODELS", "ModelRow", "Target", "describe", "inspect_attention", "saliency", "sparsify"]
