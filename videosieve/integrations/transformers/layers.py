"""The attention layers of one sparse model, and what happens to a prefill call of one of them.

The layer is found by a handle on the module, a 0-dim CPU tensor: torch.compile sees data there and not a constant, so
that all layers share one compiled frame.
"""

import itertools
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.integrations.transformers.masks import expand_row, is_row
from videosieve.integrations.transformers.previous import attend_as_before, previous_name
from videosieve.integrations.transformers.spans import Span, spans_of
from videosieve.layout import VideoLayout
from videosieve.records import Outcome
from videosieve.run import Run
from videosieve.timing import start_timer

HANDLE = "videosieve_handle"
"""Attribute of a sparse attention module, gone when the run is removed."""

# A custom op can only carry tensors and numbers, so the number in a handle is looked up here. Weak: a removed run
# leaves nothing behind.
_LAYERS: "weakref.WeakValueDictionary[int, Layer]" = weakref.WeakValueDictionary()
_IDS = itertools.count()
# Which model a first layer belongs to, by the id of its module: all that a decoding step looks up in every layer.
_FIRST: "dict[int, weakref.ref[Stage]]" = {}


class Stage:
    """One sparse model: what its layers share.

    Attributes:
        name: Of the model's class; method states are kept apart by it.
        run: What attends and remembers.
        layers: Attention layers, in order.
        decoded: Steps of decoding that were left as they were; compiled ones are not counted.
        reached: Numbers of the layers that a forward with several queries has reached.
    """

    def __init__(self, name: str, run: Run, modules: list[Module]) -> None:
        self.name = name
        self.run = run
        self.decoded = 0
        self.reached: set[int] = set()
        self.layers = [Layer(self, index, module) for index, module in enumerate(modules)]
        self._generation, self._pass = -1, 0
        self._row: Tensor | None = None
        self._spans: list[Span] | str = ""
        self._asked: tuple[int, int, int] = (0, 0, 0)

    def spans(self, layer: int, row: Tensor | None, batch: int, queries: int) -> list[Span] | str:
        """Where tokens lie; read once a forward, because reading waits for the device."""
        asked = (batch, queries, 0 if row is None else row._version)
        if layer == 0 or row is not self._row or asked != self._asked:
            self._row, self._asked = row, asked
            self._spans = spans_of(row, batch, queries)
        if layer == 0:
            self._begin(self._spans)
        return self._spans

    def _begin(self, spans: list[Span] | str) -> None:
        """A forward begins; one whose queries come first in their sequences is a new prompt."""
        if isinstance(spans, str) or any(span.offset > 0 for span in spans):
            self._pass += 1
            return
        self._generation += 1
        self._pass = 0
        self.run.begin()

    def site(self, layer: int, items: tuple[int, ...] = ()) -> Site:
        """Where a call happens: chunks of one prompt are passes."""
        return Site(
            layer, len(self.layers), 0, 1, "prefill", max(self._generation, 0), max(self._pass, 0), items
        )


class Layer:
    """One sparse attention module.

    Attributes:
        index: Position in the model.
        handle: int64 CPU scalar that identifies the layer inside the custom op.
    """

    def __init__(self, stage: Stage, index: int, module: Module) -> None:
        self._number = next(_IDS)
        self.index = index
        self.handle = torch.tensor(self._number, device="cpu")
        self._stage = stage
        self._module = weakref.ref(module)
        self._place = id(module)
        _LAYERS[self._number] = self
        if index == 0:
            _FIRST[self._place] = weakref.ref(stage)

    @property
    def stage(self) -> Stage:
        return self._stage

    @property
    def module(self) -> Module | None:
        return self._module()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, row: Tensor | None, scale: float) -> Tensor:
        """A call with several queries, plainly causal but for padding: [batch, heads, queries, head_dim], contiguous.

        Args:
            q: Queries [batch, heads, queries, head_dim].
            k: Keys [batch, key heads, keys, head_dim], padding and the unwritten end of a cache included.
            v: Values, likewise.
            row: As the mask function returns.
            scale: Factor on every q·k.
        """
        stage = self._stage
        stage.reached.add(self.index)
        spans = stage.spans(self.index, row, q.shape[0], q.shape[2])
        least = stage.run.recipe.min_tokens
        reason = (
            spans if isinstance(spans, str) else f"fewer than {least} queries" if q.shape[2] < least else ""
        )
        if reason or isinstance(spans, str):
            return self.attend_dense(q, k, v, row, reason, {"scaling": scale}).transpose(1, 2).contiguous()
        if len(spans) == 1 and spans[0].queries.start == 0:
            return self._attend_span(q, k, v, spans[0], scale, alone=True)
        output = q.new_zeros(q.shape)  # rows of padding stay 0
        for span in spans:
            items = list(span.items)
            output[items, :, span.queries] = self._attend_span(
                q[items], k[items], v[items], span, scale, alone=len(spans) == 1
            )
        return output

    def _attend_span(
        self, q: Tensor, k: Tensor, v: Tensor, span: Span, scale: float, *, alone: bool
    ) -> Tensor:
        q, k, v = q[:, :, span.queries], k[:, :, span.keys], v[:, :, span.keys]
        site = self._stage.site(self.index, () if alone else span.items)
        call = AttentionCall(q, k, v, VideoLayout.sequence(k.shape[2]), site, scale)
        return self._stage.run.attend(call, self._stage.name)

    def attend_dense(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, reason: str, options: dict[str, Any]
    ) -> Tensor:
        """By the implementation that was there before, noted in the trace: [batch, queries, heads, head_dim]."""
        module = self.module
        assert module is not None  # noqa: S101 - it is what called
        stage, stop = self._stage, start_timer(q.device)
        stage.reached.add(self.index)
        output, _ = attend_as_before(module, q, k, v, mask, options)
        pairs = (
            q.shape[0]
            * q.shape[1]
            * (q.shape[2] * (k.shape[2] - q.shape[2]) + q.shape[2] * (q.shape[2] + 1) // 2)
        )
        outcome = Outcome("dense", previous_name(module), pairs, 1.0, reason)
        stage.run.trace.add(stage.site(self.index), outcome, stop())
        return output

    def forget(self) -> None:
        """Take the layer out of the table: a module that still carries its handle attends as before."""
        _LAYERS.pop(self._number, None)
        if self.index == 0:
            _FIRST.pop(self._place, None)


def layer_of(handle: Tensor) -> "Layer | None":
    """The layer of a handle; None where its run is gone."""
    return _LAYERS.get(int(handle))


def count_decoded(module: Module) -> None:
    """Note a step of decoding, once per forward: of the first layer of a sparse model, of no other module."""
    found = _FIRST.get(id(module))
    stage = found and found()
    if stage is not None and stage.layers[0].module is module:  # an id may come again after its module
        stage.decoded += 1


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor q, Tensor k, Tensor v, Tensor? row, float scale, Tensor handle) -> Tensor"


@torch.library.custom_op("videosieve::prefill", mutates_args=(), schema=_SCHEMA)
def prefill(q: Tensor, k: Tensor, v: Tensor, row: Tensor | None, scale: float, handle: Tensor) -> Tensor:
    """Route one prefill call to its layer, as one operator that torch.compile does not look into.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, key heads, keys, head_dim].
        v: Values, likewise.
        row: As the mask function returns.
        scale: Factor on every q·k.
        handle: int64 CPU scalar of the layer.

    Returns:
        [batch, heads, queries, head_dim], contiguous, no view of an input.
    """
    layer = layer_of(handle)
    if layer is not None:
        return layer.attend(q, k, v, row, scale)
    # Compiled code that outlived its run: plainly causal, as it was compiled for.
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    mask = expand_row(row, q.shape[2]) if row is not None and is_row(row) else None
    if mask is None:
        k, v = (x[:, :, : q.shape[2]] for x in (k, v))
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, mask, scale=scale, is_causal=mask is None
    ).contiguous()


@prefill.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, row: Tensor | None, scale: float, handle: Tensor) -> Tensor:
    del k, row, scale, handle
    return q.new_empty((*q.shape[:-1], v.shape[-1]))
