"""videosieve: training-free sparse attention for video diffusion transformers, measured honestly.

import videosieve
with videosieve.sparsify(pipe, "svg", density=0.3) as run:
    video = pipe(prompt).frames[0]
print(run.summary())
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import (
    BackendError,
    IntegrationError,
    ModelError,
    NumericsError,
    OutputError,
    PluginError,
    PromptError,
    RecipeError,
    ShapeError,
    VideosieveError,
    VideosieveWarning,
)
from videosieve.forward import Site
from videosieve.functional import attention
from videosieve.layout import Grid, Segment, VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods import (
    METHODS,
    AdaSpa,
    Dense,
    Method,
    MInference,
    OracleTopK,
    RandomBlocks,
    Selection,
    SparseVideoGen,
    SpatialOnly,
    TemporalOnly,
    XAttention,
)
from videosieve.plugins import register_method
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.run import Run
from videosieve.schedule import Action, DenseFirst, Schedule
from videosieve.trace import Summary, Trace
from videosieve.version import __version__

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch.nn import Module
    from typing_extensions import Unpack

    from videosieve.concepts import SaliencyMaps, SaliencyMethod
    from videosieve.inspection import Inspection
    from videosieve.integrations.diffusers import ModelRow
    from videosieve.integrations.diffusers.options import InspectionOptions, SaliencyOptions, SparsifyOptions
    from videosieve.tuning.options import TuneOptions
    from videosieve.tuning.outcome import Outcome

_LATER = {
    "Inspection": "videosieve.inspection",
    "SaliencyMaps": "videosieve.concepts",
    "SaliencyMethod": "videosieve.concepts",
}  # results of verbs: their rooms are imported when one is asked for


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'videosieve' has no attribute {name!r}")


def sparsify(
    target: "DiffusionPipeline | Module",
    recipe: str | Path | Method | Recipe | None = None,
    **options: "Unpack[SparsifyOptions]",
) -> Run:
    """Make a diffusers video pipeline, or the prefill of a language model, sparse, in place and reversibly.

    The one line of the library. Without a recipe it takes the one that the family of the model begins with. See
    `videosieve.integrations.diffusers.sparsify` and `videosieve.integrations.transformers.sparsify` for every option.
    """
    from videosieve.integrations.language import is_language_model

    if is_language_model(target):
        from videosieve.integrations.transformers import sparsify as sparsify_transformers

        return sparsify_transformers(target, recipe, **options)
    from videosieve.integrations.diffusers import sparsify as sparsify_diffusers

    return sparsify_diffusers(target, recipe, **options)


def register_model(row: "ModelRow") -> "ModelRow":
    """Make a transformer class of your own known to everything here; `docs/adding_a_model.md`.

    See `videosieve.integrations.diffusers.register_model`; `register_method` is its sister for methods.
    """
    from videosieve.integrations.diffusers import register_model as register

    return register(row)


def saliency(
    pipe: "DiffusionPipeline", prompt: str, concepts: Sequence[str], **options: "Unpack[SaliencyOptions]"
) -> "SaliencyMaps":
    """Generate a video and say where in it each concept is; the video is the same bits as without.

    See `videosieve.integrations.diffusers.concepts.saliency` for every option.
    """
    from videosieve.integrations.diffusers import saliency as saliency_diffusers

    return saliency_diffusers(pipe, prompt, concepts, **options)


def inspect_attention(
    pipe: "DiffusionPipeline", prompt: str, **options: "Unpack[InspectionOptions]"
) -> "Inspection":
    """Generate a video and show where its attention heads look; the video is the same bits as without.

    See `videosieve.integrations.diffusers.inspect_attention` for every option;
    `videosieve.generation.inspection.write_inspection` writes the page and the pictures.
    """
    from videosieve.integrations.diffusers import inspect_attention as inspect_diffusers

    return inspect_diffusers(pipe, prompt, **options)


def tune(pipe: "DiffusionPipeline", prompts: Sequence[str], **options: "Unpack[TuneOptions]") -> "Outcome":
    """Search the recipe that meets a target on this pipeline and machine, and write it as recipe.toml.

    See `videosieve.tuning.tune.tune` for every option; one of `psnr`, `recall` and `speedup` is needed.
    """
    from videosieve.tuning.tune import tune as tune_pipeline

    return tune_pipeline(pipe, prompts, **options)


__all__ = [
    "METHODS",
    "Action",
    "AdaSpa",
    "AttentionCall",
    "AttentionResult",
    "BackendError",
    "BlockMask",
    "BlockSize",
    "Dense",
    "DenseFirst",
    "Grid",
    "Inspection",
    "IntegrationError",
    "MInference",
    "Method",
    "ModelError",
    "NumericsError",
    "OracleTopK",
    "OutputError",
    "PluginError",
    "PromptError",
    "RandomBlocks",
    "Recipe",
    "RecipeError",
    "Record",
    "Run",
    "SaliencyMaps",
    "SaliencyMethod",
    "Schedule",
    "Segment",
    "Selection",
    "ShapeError",
    "Site",
    "SparseVideoGen",
    "SpatialOnly",
    "Summary",
    "TemporalOnly",
    "Trace",
    "VideoLayout",
    "VideosieveError",
    "VideosieveWarning",
    "XAttention",
    "__version__",
    "attention",
    "inspect_attention",
    "register_method",
    "register_model",
    "saliency",
    "sparsify",
    "tune",
]
