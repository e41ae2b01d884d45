"""Probes: what one transformer is asked at every self-attention, and how concepts are scored there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMethod, attend_concepts, key_scores, linear_vectors, output_scores
from videosieve.concepts.scores import SIGHTS, Sight
from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.concepts.crossed import CROSS_FAMILIES
from videosieve.integrations.diffusers.concepts.families import find_family
from videosieve.integrations.diffusers.concepts.streams import Entered
from videosieve.integrations.diffusers.concepts.text import ConceptText
from videosieve.integrations.diffusers.targets import Target
from videosieve.observation import Observation

Emit = Callable[[Tensor], None]


@dataclass
class _Stream:
    """Concepts of one sight on their way through the blocks.

    Attributes:
        sight: What they attend to.
        layers: Layers in which they are scored, ascending.
        concepts: Where they are [batch or 1, concepts, channels].
    """

    sight: Sight
    layers: tuple[int, ...]
    concepts: Tensor = field(default_factory=lambda: torch.empty(0))


class StreamProbe:
    """Joint attention: concepts walk along from block to block, and nothing of the model sees them.

    Where layers are read with sights of their own, the concepts of every sight walk apart.

    Args:
        target: The transformer.
        text: The encoded concepts.
        method: What is compared.
        layers: Layers to score, ascending.
    """

    def __init__(
        self, target: Target, text: ConceptText, method: SaliencyMethod, layers: tuple[int, ...]
    ) -> None:
        self._family = find_family(target.row.name)
        self._transformer: Any = target.transformer
        self._text, self._method = text, method
        self._linear = method.vectors == "linear"
        self._stages = [
            (self._family.kind(name), name, target.transformer.get_submodule(name.rpartition(".")[0]))
            for name in list(target.attentions)[: layers[-1] + 1]
        ]
        sights: dict[int, Sight] = method.sights or dict.fromkeys(layers, cast("Sight", method.sight))
        self._streams = [
            _Stream(sight, tuple(own))
            for sight in SIGHTS
            if (own := [layer for layer in layers if sights[layer] == sight])
        ]
        self._take_one = _OneItem(target)
        self._arguments: Mapping[str, Any] = {}
        self._next = 0
        self._condition: Any = None

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """A forward of the transformer begins with these arguments."""
        self._arguments = arguments
        self._next = 0

    def see(self, seen: Observation, rows: slice, item: int, emit: Emit) -> None:
        """Take concepts through one layer; `emit` gets their scores [batch, concepts, tokens] where it is wanted.

        `rows` of the call are looked at; the first of them is this `item` of the forward's batch. Layers must come one
        after the other from the first: after a gap (a cache skipped one) nothing more is emitted.
        """
        layer = seen.site.layer
        if layer != self._next or layer >= len(self._stages):
            self._next = -1
            return
        self._next += 1
        if layer == 0:
            one = self._take_one(self._arguments, item)
            self._condition = self._family.condition(self._transformer, one)
            entered = self._family.embed(self._transformer, self._text, one)
            for stream in self._streams:
                stream.concepts = entered
        q, k, v, output = (x[rows, :, seen.layout.video] for x in (seen.q, seen.k, seen.v, seen.output))
        for stream in self._streams:
            if layer <= stream.layers[-1]:
                self._pass(stream, layer, (q, k, v, output), seen.scale, emit)

    def _pass(
        self,
        stream: "_Stream",
        layer: int,
        video: tuple[Tensor, Tensor, Tensor, Tensor],
        scale: float,
        emit: Emit,
    ) -> None:
        """Take the concepts of one sight through a layer."""
        kind, name, block = self._stages[layer]
        q, k, v, output = video
        modulation = self._family.modulate(self._transformer, self._condition, name)
        inside = kind.enter(block, stream.concepts, modulation)
        found = attend_concepts((inside.q, inside.k, inside.v), (k, v), scale, stream.sight)
        if layer in stream.layers:
            emit(self._score((q, v, output), inside, found, scale))
        if layer < stream.layers[-1]:
            joined = found.transpose(1, 2).flatten(2).to(stream.concepts.dtype)
            stream.concepts = kind.leave(block, stream.concepts, joined, inside)

    def _score(
        self, video: tuple[Tensor, Tensor, Tensor], inside: Entered, found: Tensor, scale: float
    ) -> Tensor:
        """Scores [batch, concepts, tokens] in the space that the method compares."""
        q, v, output = video
        spaces = {"output": (output, found), "value": (v, inside.v.expand(len(v), -1, -1, -1))}
        joint = self._method.name == "concept"
        tokens, vectors = spaces[self._method.space] if joint else (q, inside.k)
        vectors = linear_vectors(vectors.float()) if self._linear else vectors
        return output_scores(tokens, vectors) if joint else key_scores(q, vectors, scale)

    def attach(self) -> list[Callable[[], object]]:
        """Nothing more to hook; returns what takes it off."""
        return []


class CrossProbe:
    """Cross-attention models: queries of the video against keys of concepts put in the place of the prompt.

    The queries are those that the model computes anyway, read behind their norm.

    Args:
        target: The transformer.
        text: The encoded concepts.
        method: What is compared.
        layers: Layers to score, ascending.
    """

    def __init__(
        self, target: Target, text: ConceptText, method: SaliencyMethod, layers: tuple[int, ...]
    ) -> None:
        if method.sight != "both":
            raise IntegrationError(
                f"in {target.row.name} concepts are keys and attend to nothing, so there is nothing that sight could "
                f"change; leave it out"
            )
        self._family = CROSS_FAMILIES[target.row.name]
        self._transformer: Any = target.transformer
        self._text, self._layers = text, layers
        self._linear = method.vectors == "linear"
        names = list(target.attentions)
        blocks = {
            layer: target.transformer.get_submodule(names[layer].rpartition(".")[0]) for layer in layers
        }
        self._attentions: dict[int, Any] = {
            layer: getattr(block, self._family.attention) for layer, block in blocks.items()
        }
        self._take_one = _OneItem(target)
        self._arguments: Mapping[str, Any] = {}
        self._concepts: Tensor | None = None
        self._waiting: tuple[Observation, slice, Emit] | None = None

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """A forward of the transformer begins with these arguments."""
        self._arguments = arguments
        self._concepts = None
        self._waiting = None

    def see(self, seen: Observation, rows: slice, item: int, emit: Emit) -> None:
        """Note the self-attention before the cross-attention of the same block; `emit` gets the scores after it."""
        if self._concepts is None:
            one = self._take_one(self._arguments, item)
            self._concepts = self._family.embed(self._transformer, self._text, one)
        self._waiting = (seen, rows, emit)

    def attach(self) -> list[Callable[[], object]]:
        """Hook what gives the queries; returns what takes the hooks off."""
        hooks: Any = [torch.compiler.disable(partial(self._read, layer)) for layer in self._layers]
        places = [getattr(attn, self._family.query) for attn in self._attentions.values()]
        return [place.register_forward_hook(hook).remove for place, hook in zip(places, hooks, strict=True)]

    def _read(self, layer: int, module: Any, inputs: Any, output: Tensor) -> None:
        del module, inputs
        if self._waiting is None or self._waiting[0].site.layer != layer or self._concepts is None:
            return
        seen, rows, emit = self._waiting
        self._waiting = None
        attn = self._attentions[layer]
        queries, video = self._family.queries(attn, output), seen.layout.video
        if queries.shape[2] == seen.layout.tokens:
            queries = queries[:, :, video]
        elif queries.shape[2] != seen.layout.grid.tokens:
            raise IntegrationError(
                f"cross-attention maps need all video tokens on one device, got {queries.shape[2]} of "
                f"{seen.layout.grid.tokens}; run without context parallelism"
            )
        q = queries[rows]
        k = self._family.keys(attn, self._concepts.to(q.dtype))
        emit(key_scores(q, linear_vectors(k.float()) if self._linear else k, q.shape[-1] ** -0.5))


class _OneItem:
    """Takes the arguments of one item of a forward's batch; whatever is not given per item stays.

    Args:
        target: The transformer.
    """

    def __init__(self, target: Target) -> None:
        self._latents, self._timestep = target.row.latents, target.row.timestep

    def __call__(self, arguments: Mapping[str, Any], item: int) -> dict[str, Any]:
        one = dict(arguments)
        one[self._timestep] = torch.as_tensor(one[self._timestep])
        if not one[self._timestep].ndim:
            one[self._timestep] = one[self._timestep].reshape(1)
        batch = len(one[self._latents])
        for name, value in one.items():
            if isinstance(value, Tensor) and value.ndim and value.shape[0] == batch:
                one[name] = value[item : item + 1]
        return one
