"""`sparsify`: hook a pipeline's transformers, all of them or none, and hand back the run that undoes it."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

from videosieve.call import Site
from videosieve.errors import BackendError, IntegrationError
from videosieve.fields import Count, Whole, checked
from videosieve.integrations.diffusers.clock import Clock, bind_forward, follow_cache_context, read_moment
from videosieve.integrations.diffusers.models import ModelRow, find_row, find_transformers
from videosieve.integrations.diffusers.reuse import ReuseHooks, Slot
from videosieve.integrations.diffusers.router import Layer, Stage
from videosieve.integrations.diffusers.seam import Rebinder, is_rebound
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS
from videosieve.methods import Method
from videosieve.methods.registry import nearest
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.schedule import DenseFirst, Schedule


@dataclass(frozen=True, slots=True)
class Target:
    """One transformer that `sparsify` hooks or would hook.

    Attributes:
        component: Its name in the pipeline.
        transformer: The transformer.
        row: What is known about its class.
        attentions: Its video self-attention modules by name, in call order.
        heads: Attention heads.
        head_dim: Channels per head.
    """

    component: str
    transformer: Module
    row: ModelRow
    attentions: dict[str, Module]
    heads: int
    head_dim: int

    @property
    def layers(self) -> int:
        """Number of video self-attentions."""
        return len(self.attentions)


def describe(target: Any) -> list[Target]:
    """What `sparsify` would hook; changes nothing.

    Args:
        target: A diffusers pipeline or a transformer.

    Returns:
        One entry per supported transformer.

    Raises:
        IntegrationError: No supported transformer, or one without the self-attentions its class should have.
    """
    found = []
    for component, transformer in find_transformers(target).items():
        row: Any = find_row(transformer)
        config: Any = transformer.config
        attentions = row.self_attentions(transformer)
        if not attentions or not all(hasattr(module, "processor") for module in attentions.values()):
            raise IntegrationError(
                f"{component} ({type(transformer).__name__}) must have self-attentions with processors, named like "
                f"{row.attentions!r}, got {len(attentions)} such modules; diffusers 0.36 or later is needed"
            )
        heads, head_dim = config["num_attention_heads"], config["attention_head_dim"]
        found.append(Target(component, transformer, row, attentions, heads, head_dim))
    return found


def sparsify(
    target: Any,
    method_or_recipe: str | Path | Method | Recipe = "svg",
    *,
    steps: int | None = None,
    check_finite: bool = False,
    recall_rows: int = 16,
    backend: str | None = None,
    fused: bool | None = None,
    **overrides: Any,
) -> Run:
    """Make a diffusers video pipeline sparse, in place and reversibly.

    Args:
        target: A diffusers video pipeline, or a bare transformer; see `MODELS` for the supported classes.
        method_or_recipe: Name of a method or bundled recipe, path of a recipe, a method or a recipe.
        steps: Denoising steps of a generation. Needed for a bare transformer where the recipe counts dense steps as
            a fraction; a pipeline knows its own.
        check_finite: Check q, k and v of every call for NaN and infinity, and say where they are.
        recall_rows: Query rows per sparse call from which recall is measured; 0 turns the measurement off.
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.
        fused: Whether QK-norm and rotary positions are computed in one pass by processors of our own, which differ from
            diffusers' by rounding. None does so where the transformer is on a CUDA device that runs the Triton kernel
            and its processors are diffusers' own; True insists on it, on CPU too; False keeps the model's code.
        **overrides: Fields of the method, or `dense_steps`, `dense_layers`, `min_tokens`, `shared_selection`:
            `density=0.3`.

    Returns:
        The run: a context manager with `summary()`, `trace` and `remove()`.

    Raises:
        RecipeError: Unknown method or recipe, unknown key, value outside its range.
        BackendError: Unknown backend.
        IntegrationError: Unsupported model, already sparse, or `steps` is missing. An error changes nothing.
    """
    recipe = Recipe.of(method_or_recipe, **overrides)
    targets = describe(target)
    pipeline = None if isinstance(target, Module) else target
    _require_steps(steps, pipeline, recipe)
    _require_options(recall_rows, backend, check_finite)
    _require_reuse(recipe, targets, pipeline)
    _require_shared(recipe, targets, pipeline)
    for found in targets:
        if any(is_rebound(module) for module in found.attentions.values()):
            raise IntegrationError(
                f"{found.component} is already sparsified; call .remove() on the earlier run first"
            )
    run = Run(recipe, check_finite=check_finite, recall_rows=recall_rows, backend=backend)
    attach(targets, run, Clock(run, pipeline, steps), fused)
    return run


def attach(targets: list[Target], run: Run, clock: Clock, fused: bool | None = None) -> None:
    """Hook all targets or none; `run.remove()` undoes it."""
    with ExitStack() as undo:  # closes, and so undoes, where any transformer refuses
        for found in targets:
            _attach(found, run, clock, undo, fused)
        run.on_remove(undo.pop_all().close)


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
        if recipe.schedule.shares_branches and found.row.text_mask:
            raise IntegrationError(
                f"the guidance branches of {found.row.name} cannot share attention outputs: text is part of the "
                f"sequence, and its length differs between them; write plan letters F and W instead of f and w"
            )
        if recipe.schedule.shares_branches and "cond_uncond" in found.row.branches and pipeline is None:
            raise IntegrationError(
                f"a bare {found.row.name} does not say whether its batch holds both guidance branches; "
                f"hand the pipeline to sparsify"
            )


def _require_shared(recipe: Recipe, targets: list[Target], pipeline: object) -> None:
    """Refuse a shared selection where nobody says whether a batch holds both branches."""
    for found in targets:
        if recipe.shared_selection and "cond_uncond" in found.row.branches and pipeline is None:
            raise IntegrationError(
                f"a bare {found.row.name} does not say whether its batch holds both guidance branches, which "
                f"shared_selection needs to know; hand the pipeline to sparsify"
            )


def _require_options(recall_rows: int, backend: str | None, check_finite: bool) -> None:
    checked("recall_rows", recall_rows, Whole, IntegrationError)
    checked("check_finite", check_finite, bool, IntegrationError)
    backends = [implementation.name for implementation in IMPLEMENTATIONS]
    if backend is not None and backend not in backends:
        raise BackendError(
            f"block_sparse_attention has no backend {backend!r}{nearest(backend, backends)}; "
            f"there are {', '.join(backends)}"
        )


def _counts_steps(schedule: Schedule) -> bool:
    return not isinstance(schedule, DenseFirst) or (isinstance(schedule.steps, float) and schedule.steps > 0)


def _attach(found: Target, run: Run, clock: Clock, undo: ExitStack, fused: bool | None) -> None:
    stage = Stage(found.component, run, found.layers)
    rebinder = Rebinder(stage, context_parallel=found.row.text == "none")
    undo.callback(rebinder.close)
    modules: list[Any] = list(found.attentions.values())
    layers = [Layer(stage, name, index) for index, name in enumerate(found.attentions)]
    for layer in layers:
        undo.callback(layer.forget)
    processors = _processors(found, fused)
    rebound = [rebinder.rebind(processor, layer) for processor, layer in zip(processors, layers, strict=True)]
    for module, processor in zip(modules, rebound, strict=True):
        undo.callback(_restore, module, module.processor, processor)
        module.processor = processor
    slots = _attach_slots(found, run, layers, undo)
    undo.callback(follow_cache_context(found.transformer, clock))
    _watch_forward(found, stage, layers, slots, clock, undo)


def _attach_slots(found: Target, run: Run, layers: list[Layer], undo: ExitStack) -> list[Slot]:
    """Give every module whose output the recipe reuses a slot for it."""
    slots: list[Slot] = []
    hooks, schedule = ReuseHooks(), run.recipe.schedule
    if "attention" in schedule.reused_kinds or schedule.shares_branches:
        for layer in layers:
            layer.slot = Slot(run, found.component, layer.name, "attention", layer.index, found.layers)
            slots.append(layer.slot)
            undo.callback(layer.slot.forget)
    blocks = {layer.name.rpartition(".")[0]: layer.index for layer in layers}
    for kind in schedule.reused_kinds:
        if kind == "attention":
            continue
        idle = found.row.idle(found.transformer) if kind == "joint" else {}
        channels = found.heads * found.head_dim if kind == "joint" else None
        for name, module in found.row.reusable(found.transformer, kind).items():
            block = name.rpartition(".")[0]
            slot = Slot(run, found.component, name, kind, blocks[block], found.layers, channels)
            slots.append(slot)
            undo.callback(hooks.hook(module, slot))
            for feeder in (feeder for place, feeder in idle.items() if place.rpartition(".")[0] == block):
                undo.callback(hooks.idle(feeder, slot))
    return slots


def _processors(found: Target, fused: bool | None) -> list[Any]:
    """What is re-bound: the modules' own processors, or fused ones in their place."""
    modules: list[Any] = list(found.attentions.values())
    own = [module.processor for module in modules]
    if fused not in (None, True, False):
        raise IntegrationError(f"fused must be True, False or None, got {fused!r}")
    if fused is False:
        return own
    from videosieve.integrations.diffusers.fused import fuse_processors, why_not_fused

    if fused is None and why_not_fused(own, modules[0], found.heads, found.head_dim):
        return own
    return fuse_processors(own, found.component)


def _restore(module: Any, original: object, ours: object) -> None:
    if module.processor is ours:  # else somebody put another one there since: theirs to keep
        module.processor = original


def _watch_forward(
    found: Target, stage: Stage, layers: list[Layer], slots: list[Slot], clock: Clock, undo: ExitStack
) -> None:
    """Hooks before and after the transformer's forward. Plain torch hooks: they survive model offload, and
    `torch.compiler.disable` keeps them out of the compiled graph."""
    bind = bind_forward(found.transformer)

    def before(transformer: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        lost = [name for name, module in found.attentions.items() if not is_rebound(module)]
        if lost:
            raise IntegrationError(
                f"{len(lost)} of {len(layers)} self-attentions of {found.component} lost their sparse processor since "
                f"sparsify, the first is {lost[0]}; call fuse_qkv_projections() or set_attn_processor() before "
                f"sparsify, or .remove() the run"
            )
        for layer in layers:
            layer.entered = layer.routed = 0
        stage.moment = read_moment(clock, found.row, transformer, bind(args, kwargs))
        moment = stage.moment
        stage.run.recipe.schedule.require(Site(0, found.layers, moment.step, moment.steps, moment.branch))
        for slot in slots:
            slot.prepare(stage.moment)

    def after(transformer: Module, args: tuple[Any, ...], output: Any) -> None:
        del transformer, args, output
        served = {layer.name for layer in layers if layer.slot is not None and layer.slot.returned}
        dry = [
            layer.name for layer in layers if layer.entered and not layer.routed and layer.name not in served
        ]
        if dry:
            raise IntegrationError(
                f"{len(dry)} self-attentions of {found.component} ran without reaching videosieve, the first is "
                f"{dry[0]}; something replaced its attention after sparsify. Apply that first, or .remove() the run"
            )
        for slot in slots:
            slot.forget()

    hooks: tuple[Any, Any] = torch.compiler.disable(before), torch.compiler.disable(after)
    undo.callback(found.transformer.register_forward_pre_hook(hooks[0], with_kwargs=True).remove)
    undo.callback(found.transformer.register_forward_hook(hooks[1]).remove)
