"""`sparsify` for language models: the prefill of a model of transformers made sparse, in place and reversibly."""

from functools import partial
from pathlib import Path
from typing import Any

from torch.nn import Module

from videosieve.errors import BackendError, IntegrationError
from videosieve.fields import Whole, checked, nearest
from videosieve.integrations.language import language_model_of
from videosieve.integrations.transformers.attention import register
from videosieve.integrations.transformers.guard import Guard
from videosieve.integrations.transformers.layers import HANDLE, Stage
from videosieve.integrations.transformers.masks import NAME
from videosieve.integrations.transformers.models import Found, find_attentions
from videosieve.integrations.transformers.previous import KNOWN, forget, remember
from videosieve.integrations.transformers.recipes import causal_recipe, has_head_tables, require_family
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS
from videosieve.methods import Method
from videosieve.recipe import Recipe
from videosieve.run import Run

DEFAULT = "xattention-llm"


def sparsify(
    target: Any,
    method_or_recipe: str | Path | Method | Recipe | None = None,
    *,
    check_finite: bool = False,
    recall_rows: int = 16,
    backend: str | None = None,
    **overrides: Any,
) -> Run:
    """Make the prefill of a language model sparse; decoding stays as it is, and so does a vision tower.

    Args:
        target: A decoder-only language model of transformers, or a vision-language model: its language model alone.
        method_or_recipe: Name of a method or bundled recipe, path of a recipe, a method or a recipe. None takes
            "xattention-llm". Methods run in their causal form.
        check_finite: Check q, k and v of every call for NaN and infinity, and say where they are.
        recall_rows: Query rows per sparse call from which recall is measured; 0 turns the measurement off.
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.
        **overrides: Fields of the method, `dense_layers` (from the front), `min_tokens` (shorter prefills stay dense).

    Returns:
        The run: a context manager with `summary()`, `trace` and `remove()`.

    Raises:
        RecipeError: Unknown method or key, a method without a causal form, options that only videos have.
        BackendError: Unknown backend.
        IntegrationError: The model cannot be sparse, or is already. An error changes nothing.
    """
    model = language_model_of(target)
    if model is None:
        raise IntegrationError(f"{type(target).__name__} is no model of transformers")
    recipe = causal_recipe(DEFAULT if method_or_recipe is None else method_or_recipe, **overrides)
    checked("recall_rows", recall_rows, Whole, IntegrationError)
    checked("check_finite", check_finite, bool, IntegrationError)
    _require_backend(backend)
    found = find_attentions(model)
    require_family(recipe, model)
    _require_free(model, found, recipe)
    run = Run(recipe, check_finite=check_finite, recall_rows=recall_rows, backend=backend)
    attach(model, found, run)
    run.warns = True
    return run


def attach(model: Module, found: Found, run: Run) -> None:
    """Switch the configs, put handles on the modules, hook the guard; `run.remove` takes all of it back."""
    register()
    stage = Stage(type(model).__name__, run, found.modules)
    for config in found.configs:
        remember(config, config._attn_implementation)
        config._attn_implementation_internal = NAME
        run.on_remove(partial(_restore, config))
    for module, layer in zip(found.modules, stage.layers, strict=True):
        setattr(module, HANDLE, layer.handle)
        run.on_remove(partial(delattr, module, HANDLE))
        run.on_remove(layer.forget)
    guard = Guard(model, found, stage)
    run.on_remove(guard.remove)
    run.notes.append(lambda: _decoded(stage))


def _decoded(stage: Stage) -> str:
    steps = stage.decoded
    return f"decoding: {steps} step{'s' * (steps != 1)}, dense as before" if steps else ""


def _restore(config: Any) -> None:
    before = forget(config)
    if config._attn_implementation == NAME:  # else somebody has chosen another one since
        config._attn_implementation_internal = before


def _require_backend(backend: str | None) -> None:
    backends = [implementation.name for implementation in IMPLEMENTATIONS]
    if backend is not None and backend not in backends:
        raise BackendError(
            f"block_sparse_attention has no backend {backend!r}{nearest(backend, backends)}; "
            f"there are {', '.join(backends)}"
        )


def _require_free(model: Module, found: Found, recipe: Recipe) -> None:
    name = type(model).__name__
    if any(hasattr(module, HANDLE) for module in found.modules):
        raise IntegrationError(f"{name} is already sparsified; call .remove() on the earlier run first")
    for config in found.configs:
        before = config._attn_implementation
        if before == NAME:
            raise IntegrationError(
                f"{name} shares its config object with a model that is sparse, so that they would switch together; "
                f"give it a copy (copy.deepcopy(config)) or call .remove() on the other run first"
            )
        if before not in KNOWN:
            raise IntegrationError(
                f"{name} has attn_implementation {before!r}, and decoding goes back to what was there, with masks that "
                f"it does not take; call model.set_attn_implementation('sdpa') first"
            )
    if has_head_tables(recipe) and (getattr(model, "_tp_size", None) or 1) > 1:
        raise IntegrationError(
            f"{name} is tensor-parallel: a process has some of the heads only, and the recipe has a table of all; take "
            f"a recipe without per-head tables"
        )
