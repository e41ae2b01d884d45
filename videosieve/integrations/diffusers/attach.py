"""Attaching: re-bound processors, slots for reused outputs, and the hooks around a transformer's forward."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import Module

from videosieve.dealing import HeadWork
from videosieve.errors import IntegrationError
from videosieve.forward import Forward
from videosieve.integrations.diffusers.clock import (
    Clock,
    bind_forward,
    follow_cache_context,
    read_moment,
)
from videosieve.integrations.diffusers.forward_hooks import hook_forward
from videosieve.integrations.diffusers.reuse import Slot
from videosieve.integrations.diffusers.reuse_hooks import ReuseHooks
from videosieve.integrations.diffusers.router import Layer, Stage
from videosieve.integrations.diffusers.seam import Rebinder, is_rebound
from videosieve.integrations.diffusers.targets import Target
from videosieve.integrations.diffusers.ulysses import Dealer, Share, read_share
from videosieve.run import Run


def attach(
    targets: list[Target], run: Run, clock: Clock, fused: bool | None = None, work: HeadWork | None = None
) -> None:
    """Hook all targets or none; `run.remove()` undoes it. `work`: by which heads are dealt to ranks."""
    run.work = None if work is None else HeadWork()
    with ExitStack() as undo:  # closes, and so undoes, where any transformer refuses
        for found in targets:
            _attach(found, run, clock, undo, fused, None if work is None else Dealer(found, run, work))
        run.on_remove(undo.pop_all().close)


def _attach(
    found: Target, run: Run, clock: Clock, undo: ExitStack, fused: bool | None, dealer: Dealer | None
) -> None:
    stage = Stage(found.component, run, found.layers)
    rebinder = Rebinder(stage, found.row.text_keys)
    undo.callback(rebinder.close)
    modules: list[Any] = list(found.attentions.values())
    layers = [Layer(stage, name, index) for index, name in enumerate(found.attentions)]
    for layer in layers:
        undo.callback(layer.forget)
    processors = _processors(found, fused)
    rebound = [
        rebinder.rebind(processor, layer, module.processor)
        for processor, layer, module in zip(processors, layers, modules, strict=True)
    ]
    for module, processor in zip(modules, rebound, strict=True):
        undo.callback(_restore, module, module.processor, processor)
        module.processor = processor
    hooks = ReuseHooks()
    undo.callback(hooks.close)
    slots = _attach_slots(found, run, layers, hooks, undo)
    undo.callback(follow_cache_context(found.transformer, clock.contexts))
    _watch_forward(_Watch(found, stage, layers, slots, hooks, clock, dealer), undo)
    if dealer is not None:
        run.notes.append(partial(_undealt, stage))


def _undealt(stage: Stage) -> str:
    """A line where heads were to be dealt and there was nobody to deal them to."""
    if stage.share is not None or not len(stage.run.trace):
        return ""
    return f"nobody to deal the heads of {stage.name} to: it ran without Ulysses context parallelism"


def _attach_slots(
    found: Target, run: Run, layers: list[Layer], hooks: ReuseHooks, undo: ExitStack
) -> list[Slot]:
    """Give every module whose output the recipe reuses a slot for it."""
    slots: list[Slot] = []
    schedule = run.recipe.schedule
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
        for name in found.row.reusable(found.transformer, kind):
            block = name.rpartition(".")[0]
            slot = Slot(run, found.component, name, kind, blocks[block], found.layers, channels)
            slots.append(slot)
            hooks.hook(found.transformer, name, slot)
            for feeder in (place for place in idle if place.rpartition(".")[0] == block):
                hooks.idle(found.transformer, feeder, slot)
    return slots


def _processors(found: Target, fused: bool | None) -> list[Any]:
    """What is re-bound: the modules' own processors, or fused ones or such without a square mask in their place."""
    from videosieve.integrations.diffusers.unmasked import without_square_mask

    modules: list[Any] = list(found.attentions.values())
    own = [without_square_mask(module.processor) for module in modules]
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


@dataclass(frozen=True)
class _Watch:
    """What happens before and after the forward of one hooked transformer."""

    found: Target
    stage: Stage
    layers: list[Layer]
    slots: list[Slot]
    hooks: ReuseHooks
    clock: Clock
    dealer: Dealer | None

    def before(self, bound: dict[str, Any]) -> None:
        """Name the forward and settle what every module does in it."""
        found, stage = self.found, self.stage
        self._require_processors()
        for layer in self.layers:
            layer.entered = layer.routed = 0
        self.stage.skipped = _skipped(found, bound)
        stage.share = _kept(stage.share, read_share(found))
        stage.moment = read_moment(self.clock, found.row, found.component, found.transformer, bound)
        forward = stage.moment.forward
        stage.run.trace.reached[forward.generation] = forward.step
        stage.run.recipe.schedule.require(forward.site(0, found.layers))
        self._require_known_window(forward)
        self._deal(bound)
        self.hooks.follow()
        for slot in self.slots:
            slot.prepare(stage.moment)

    def _deal(self, bound: dict[str, Any]) -> None:
        """Tell every layer in which order its heads are exchanged in this generation."""
        stage = self.stage
        if self.dealer is None or stage.share is None:
            return
        moment = stage.moment
        layout = moment.arrangements[0].groups[0].layout if moment.arrangements else None
        device = next(x.device for x in bound.values() if isinstance(x, Tensor))
        orders = self.dealer.orders(moment.forward.generation, stage.share, layout, device)
        for layer in self.layers:
            layer.order = None if orders is None else orders[layer.index]

    def after(self) -> None:
        """Raise where attention went past us."""
        self.clock.done(self.found.component)
        served = {layer.name for layer in self.layers if layer.slot is not None and layer.slot.returned}
        for slot in self.slots:
            slot.forget()
        served |= {layer.name for layer in self.layers if _block(layer.name) in self.stage.skipped}
        dry = [x.name for x in self.layers if x.entered and not x.routed and x.name not in served]
        if dry:
            raise IntegrationError(
                f"{len(dry)} self-attentions of {self.found.component} ran without reaching videosieve, the first is "
                f"{dry[0]}; something replaced its attention after sparsify. Apply that first, or .remove() the run"
            )

    def is_about(self, transformer: Module) -> bool:
        """False for a deep copy, which took our hooks along and is no part of the run."""
        if transformer is self.found.transformer:
            return True
        name, module = next(iter(self.found.attentions.items()))
        return transformer.get_submodule(name) is module

    def _require_known_window(self, forward: Forward) -> None:
        if forward.moved and self.stage.run.remembers:
            raise IntegrationError(
                f"branch {forward.branch!r} runs several times a step, and its windows have moved since the last step "
                f"(pass {forward.pass_number} of step {forward.step} shows what another pass did): what recipe "
                f"{self.stage.run.recipe.name!r} remembers would be another window's. Name every window in "
                f'cache_context ("cond 3"), keep their order, or take a recipe without reuse and memory'
            )

    def _require_processors(self) -> None:
        found = self.found
        lost = [name for name, module in found.attentions.items() if not is_rebound(module)]
        if lost:
            raise IntegrationError(
                f"{len(lost)} of {found.layers} self-attentions of {found.component} lost their sparse processor since "
                f"sparsify, the first is {lost[0]}; call fuse_qkv_projections() or set_attn_processor() before "
                f"sparsify, or .remove() the run"
            )


def _kept(before: Share | None, now: Share | None) -> Share | None:
    """The same object while it says the same, so that compiled code that has looked at it stays valid."""
    return before if before == now else now


def _skipped(found: Target, bound: dict[str, Any]) -> frozenset[int]:
    """Numbers of the blocks that pass their values on without attending in this forward."""
    return frozenset(bound.get(found.row.skipped_blocks) or ()) if found.row.skipped_blocks else frozenset()


def _block(layer: str) -> int:
    return next((int(part) for part in layer.split(".") if part.isdigit()), -1)


def _watch_forward(watch: _Watch, undo: ExitStack) -> None:
    transformer, turn = watch.found.transformer, watch.stage.turn
    bind = bind_forward(transformer)

    def before(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not watch.is_about(module):
            return
        turn.take()
        try:
            watch.before(bind(args, kwargs))
        except BaseException:
            turn.leave()
            raise

    def after(module: Module, args: tuple[Any, ...], output: Any) -> None:
        del args, output
        if not watch.is_about(module):
            return
        try:
            watch.after()
        finally:
            turn.leave()

    hook_forward(transformer, before, after, undo)
