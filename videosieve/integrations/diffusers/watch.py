"""`watch`: show every video self-attention of a pipeline to observers, and change nothing.

The seam of `sparsify` with another primitive in it: the processor calls the attention that it always called, whatever
backend that is, and what went in and came out is shown. Every bit of the result stays as it was.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.clock import Clock, bind_forward, follow_cache_context, read_moment
from videosieve.integrations.diffusers.forward_hooks import hook_forward
from videosieve.integrations.diffusers.models.arrangements import items_left_out
from videosieve.integrations.diffusers.router import Layer, Stage
from videosieve.integrations.diffusers.seam import Rebinder, is_rebound
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.recipe import Recipe
from videosieve.run import Run


def watch(pipe: Any, images: bool = False) -> Run:
    """Make a pipeline show its self-attentions to the observers of a run.

    Args:
        pipe: A diffusers video pipeline.
        images: Whether it may be an image pipeline.

    Returns:
        The run, without a trace: a context manager with `observers` and `remove()`.

    Raises:
        IntegrationError: An unsupported model, or one that is sparse already.
    """
    targets = describe(pipe, images)
    for found in targets:
        if any(is_rebound(module) for module in found.attentions.values()):
            raise IntegrationError(
                f"{found.component} is sparsified already; hand its run over as recipe=run, or call .remove() on it"
            )
    run = Run(Recipe.of("dense"))
    clock = Clock(run, pipe, None)
    with ExitStack() as undo:
        for found in targets:
            _attach(found, run, clock, undo)
        run.on_remove(undo.pop_all().close)
    return run


class _Shower(Rebinder):
    """Makes processors that attend as ever and show every call."""

    def __init__(self, stage: Stage, show: Callable[[Tensor, Tensor, Tensor, Tensor], None]) -> None:
        super().__init__(stage)
        self._show = show

    def _scaled_dot_product_attention(self) -> Callable[..., Tensor]:
        def scaled_dot_product_attention(
            query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ) -> Tensor:
            output = F.scaled_dot_product_attention(query, key, value, *args, **kwargs)
            self._show(query, key, value, output)
            return output

        return scaled_dot_product_attention

    def _dispatch(self) -> Callable[..., Tensor]:
        from diffusers.models.attention_dispatch import dispatch_attention_fn as original

        def dispatch_attention_fn(
            query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ) -> Tensor:
            output: Tensor = original(query, key, value, *args, **kwargs)
            q, k, v, out = (x.transpose(1, 2) for x in (query, key, value, output))
            self._show(q, k, v, out)
            return output

        return dispatch_attention_fn


def _attach(found: Target, run: Run, clock: Clock, undo: ExitStack) -> None:
    stage = Stage(found.component, run, found.layers)
    layers = [Layer(stage, name, index) for index, name in enumerate(found.attentions)]
    by_handle = {int(layer.handle): layer for layer in layers}

    def show(q: Tensor, k: Tensor, v: Tensor, output: Tensor) -> None:
        moment, layer = stage.moment, by_handle[int(stage.handle)]
        ordinal = layer.routed + items_left_out(layer.items, moment.batch, moment.guided)
        layer.routed += 1
        arrangement = moment.arrangement(layer.name, q.shape[2], ordinal)
        if arrangement is None:
            return  # not the whole video: context parallelism, or a call that the layout does not describe
        q, k, v = arrangement.make_square(q, k, v)
        if q.shape != k.shape:
            return
        if arrangement.keys_only:
            output = F.pad(output, (0, 0, arrangement.keys_only, 0))
        site_of = partial(moment.forward.site, layer.index, found.layers, "")
        seen = moment.observation(
            found.component, arrangement, site_of, (q, k, v, output), q.shape[-1] ** -0.5
        )
        for observe in run.observers:
            observe(seen)

    hidden: Any = torch.compiler.disable(show)
    rebinder = _Shower(stage, hidden)
    undo.callback(rebinder.close)
    for module, layer in zip(found.attentions.values(), layers, strict=True):
        undo.callback(layer.forget)
        _replace(module, rebinder.rebind(module.processor, layer, module.processor), undo)
    undo.callback(follow_cache_context(found.transformer, clock.contexts))
    bind = bind_forward(found.transformer)

    def before(transformer: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for layer in layers:
            layer.routed = 0
        stage.moment = read_moment(clock, found.row, found.component, transformer, bind(args, kwargs))

    def after(transformer: Module, args: tuple[Any, ...], output: Any) -> None:
        del transformer, args, output
        clock.done(found.component)

    hook_forward(found.transformer, before, after, undo)


def _replace(module: Any, processor: object, undo: ExitStack) -> None:
    original = module.processor
    module.processor = processor

    def restore() -> None:
        if module.processor is processor:  # else somebody put another one there since
            module.processor = original

    undo.callback(restore)
