"""`sparsify`: hook a pipeline's transformers, all of them or none, and hand back the run that undoes it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.fields import Count, checked
from videosieve.integrations.diffusers.attach import attach
from videosieve.integrations.diffusers.clock import Clock
from videosieve.integrations.diffusers.models import require_family, start_of
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.integrations.diffusers.seam import is_rebound
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.integrations.diffusers.ulysses import read_deal
from videosieve.method_rules import require_both_ways
from videosieve.methods import Method
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.schedule import DenseFirst, Schedule
from videosieve.trace import LOG, Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from videosieve.overrides import Overrides


def sparsify(
    target: Any,
    method_or_recipe: str | Path | Method | Recipe | None = None,
    *,
    steps: int | None = None,
    check_finite: bool = False,
    recall_rows: int = 16,
    backend: str | None = None,
    fused: bool | None = None,
    deal: str | Path | Trace | None = None,
    **overrides: "Unpack[Overrides]",
) -> Run:
    """Make a diffusers video pipeline sparse, in place and reversibly.

    Args:
        target: A diffusers video pipeline, or a bare transformer; see `MODELS` for the supported classes.
        method_or_recipe: Name of a method or bundled recipe, path of a recipe, a method or a recipe. None or "auto"
            takes the recipe that the family of the model begins with (`start_of`).
        steps: Denoising steps of a generation. Needed for a bare transformer where the recipe counts dense steps as
            a fraction; a pipeline knows its own.
        check_finite: Check q, k and v of every call for NaN and infinity, and say where they are.
        recall_rows: Query rows per sparse call from which recall is measured; 0 turns the measurement off.
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.
        fused: Whether QK-norm and rotary positions are computed in one pass by processors of our own, which differ from
            diffusers' by rounding. None does so where the transformer is on a CUDA device that runs the Triton kernel
            and its processors are diffusers' own; True insists on it, on CPU too; False keeps the model's code.
        deal: How heads go to the processes of Ulysses context parallelism, which changes nothing of the video. None: in
            the model's order. "density": so that all have nearly equal work, by the method's own table where it tells
            densities, else by what earlier generations of the run computed. A trace, or the path of one ending in
            .jsonl: the same, and by that trace before the run has computed anything.
        **overrides: Fields of the method, or `dense_steps`, `dense_layers`, `min_tokens`, `shared_selection`,
            `compensate`, `token_order`, `prefer`: `density=0.3`.

    Returns:
        The run: a context manager with `summary()`, `trace` and `remove()`.

    Raises:
        RecipeError: Unknown method or recipe, unknown key, value outside its range, a recipe for another family, a
            causal method.
        BackendError: Unknown backend.
        IntegrationError: Unsupported model, already sparse, `steps` is missing, or `deal` is about other heads. An
            error changes nothing.
    """
    asked = method_or_recipe not in (None, "auto")
    recipe = Recipe.of(method_or_recipe, **overrides) if asked else None  # pyright: ignore[reportArgumentType]
    targets = describe(target)
    pipeline = None if isinstance(target, Module) else target
    recipe = recipe or Recipe.of(_start(targets, pipeline), **overrides)
    for found in targets:
        require_family(recipe, found.row)
    require_both_ways(recipe.method, recipe.compensate)
    work = read_deal(deal)
    _require_steps(steps, pipeline, recipe)
    run = Run(recipe, check_finite=check_finite, recall_rows=recall_rows, backend=backend)
    _require_reuse(recipe, targets, pipeline)
    _require_shared(recipe, targets, pipeline)
    for found in targets:
        if any(is_rebound(module) for module in found.attentions.values()):
            raise IntegrationError(
                f"{found.component} is already sparsified; call .remove() on the earlier run first"
            )
    run.about = ", ".join(
        f"{one.component} ({one.row.name}, {one.layers} self-attentions)" for one in targets
    )
    run.on_remove(partial(LOG.info, "removed recipe %r from %s", recipe.name, run.about))
    attach(targets, run, Clock(run, pipeline, steps), fused, work)
    LOG.info("attached %r to %s", recipe, run.about)
    run.warns = True
    if pipeline is not None:
        run.checks += [partial(_replaced, pipeline, found) for found in targets]
    return run


def _start(targets: list[Target], pipeline: object) -> Recipe:
    """The recipe where nobody names one."""
    says = pipeline is not None or all("cond_uncond" not in found.row.branches for found in targets)
    return start_of(targets[0].row, pipeline, shares=says)


def _replaced(pipeline: Any, found: Target) -> str:
    """A sentence where the pipeline has another transformer now than the one that was hooked."""
    there = getattr(pipeline, found.component, None)
    if getattr(there, "_orig_mod", there) is found.transformer:
        return ""
    return (
        f"{found.component} of the pipeline was replaced after sparsify, and the one that is there now runs without "
        f"videosieve; call sparsify after replacing it"
    )


def _require_steps(steps: int | None, pipeline: object, recipe: Recipe) -> None:
    checked("steps", steps, Count | None, IntegrationError)
    if steps is None and pipeline is None and not recipe.is_dense and _counts_steps(recipe.schedule):
        raise IntegrationError(
            f"a bare transformer does not know how many denoising steps there will be, and the schedule of recipe "
            f"{recipe.name!r} needs it: {recipe.schedule}; give steps=..., or dense_steps as a count (int)"
        )


def _require_reuse(recipe: Recipe, targets: list[Target], pipeline: object) -> None:
    """Refuse output reuse and sharing that a model does not allow."""
    for found in targets:
        for kind in recipe.schedule.reused_kinds:
            if kind != "joint" and not found.row.reusable(found.transformer, kind):
                raise IntegrationError(
                    f"{found.component} ({found.row.name}) has no {kind!r} modules whose outputs can be "
                    f"reused; leave reuse_{kind} out of recipe {recipe.name!r}"
                )
        if recipe.schedule.shares_branches and found.row.is_padded:
            raise IntegrationError(
                f"the guidance branches of {found.row.name} cannot share attention outputs: text is part of the "
                f"sequence, and its length differs between them; write plan letters F and W instead of f and w"
            )
        if recipe.schedule.shares_branches and found.row.conditional_first:
            raise IntegrationError(
                f"the conditional half of a batch of {found.row.name} comes first, and the half that stands for both "
                f"is the second; write plan letters F and W instead of f and w"
            )
        if recipe.schedule.shares_branches and "cond_uncond" in found.row.branches and pipeline is None:
            raise IntegrationError(
                f"a bare {found.row.name} does not say whether its batch holds both guidance branches; "
                f"hand the pipeline to sparsify"
            )


def _require_shared(recipe: Recipe, targets: list[Target], pipeline: object) -> None:
    """Refuse a shared selection where nobody says whether a batch holds both branches, or the first cannot choose."""
    for found in targets:
        if recipe.shared_selection and sequence_of(found.row).one_by_one:
            raise IntegrationError(
                f"{found.row.name} attends to the items of a batch one by one, the unconditional ones first, so the "
                f"conditional ones cannot choose for both; leave shared_selection out of recipe {recipe.name!r}"
            )
        if recipe.shared_selection and "cond_uncond" in found.row.branches and pipeline is None:
            raise IntegrationError(
                f"a bare {found.row.name} does not say whether its batch holds both guidance branches, which "
                f"shared_selection needs to know; hand the pipeline to sparsify"
            )


def _counts_steps(schedule: Schedule) -> bool:
    return not isinstance(schedule, DenseFirst) or (isinstance(schedule.steps, float) and schedule.steps > 0)
