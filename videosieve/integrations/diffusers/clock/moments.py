"""What holds for every attention call of one forward: its identity, and which token is which for every batch item.

The device is read once per forward: timestep, what the row's kind of sequence asks for (text lengths and the like), and
whether the two halves of the batch are the same latents, which is how a batch with both branches of guidance is known.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.forward import Forward, Site
from videosieve.integrations.diffusers.clock.clock import Clock
from videosieve.integrations.diffusers.clock.positions import Times, read_times
from videosieve.integrations.diffusers.models import ModelRow
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences import Sequence, sequence_of
from videosieve.observation import Observation

SAMPLED_VALUES = 64
"""Values of the latents by which windows are told apart: two of unrelated noise then differ by √2 ± 0.1 of its size."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds for every attention call of one transformer forward.

    Attributes:
        forward: Generation, step, branch and pass.
        arrangements: How its attention sequences lie; empty where nothing is known.
        batch: Batch items of the forward.
        guided: Whether this batch holds both branches of guidance, one half each.
        misfit: Why the whole forward stays dense, where it does.
        conditional_first: Whether the conditional half of such a batch comes first.
    """

    forward: Forward = field(default_factory=Forward)
    arrangements: tuple[Arrangement, ...] = ()
    batch: int = 0
    guided: bool = False
    misfit: str = "the transformer's forward was not seen"
    conditional_first: bool = False

    def holds_both(self, batch: int) -> bool:
        """Whether so many items, as they arrive at attention, are both branches: a cache may have left a half out."""
        return self.guided and batch == self.batch

    @property
    def conditional(self) -> range:
        """Items of the batch that are conditional: all of them, or one half of a batch with both branches."""
        half = self.batch // 2
        if not self.guided:
            return range(self.batch)
        return range(half) if self.conditional_first else range(half, self.batch)

    def conditional_rows(self, rows: int, items: tuple[int, ...] = ()) -> range:
        """Which rows of an attention call are conditional.

        Args:
            rows: How many it has. Where they are fewer than the batch, a cache has left the unconditional half out.
            items: Which items of the batch they are, where it holds only these; consecutive.
        """
        if items:
            own = [row for row, item in enumerate(items) if item in self.conditional]
            return range(own[0], own[-1] + 1) if own else range(0)
        return self.conditional if self.holds_both(rows) else range(rows)

    def observation(
        self,
        owner: str,
        found: Arrangement,
        site_of: Callable[[tuple[int, ...]], Site],
        tensors: tuple[Tensor, Tensor, Tensor, Tensor],
        scale: float,
    ) -> Observation:
        """What observers see of an attention call.

        Args:
            owner: Component name of the transformer.
            found: What describes the call: of `arrangement`.
            site_of: The call's site, for the items that it holds where they are not all.
            tensors: Queries, keys, values and output [batch, heads, tokens, head_dim].
            scale: Factor on every q·k.
        """
        rows = tensors[0].shape[0]
        item = self.conditional[0]
        group = found.groups[0] if found.per_item else found.group_of(item)
        items = group.items if found.per_item else ()
        conditional = self.conditional_rows(rows, items)
        return Observation(
            owner, site_of(items), group.layout, *group.shown(*tensors), scale, conditional,
            items[0] if items else item,
        )  # fmt: skip

    @property
    def valid_tokens(self) -> int:
        """Tokens of the shortest sequence, without padding; 0 where nothing is known."""
        return min((group.layout.tokens for one in self.arrangements for group in one.groups), default=0)

    def arrangement(self, layer: str, tokens: int, ordinal: int) -> Arrangement | None:
        """What describes an attention call, or None.

        Args:
            layer: Module name of the self-attention.
            tokens: Length of its queries.
            ordinal: How many calls the layer has made in this forward before.
        """
        calls = (one.of_call(ordinal) for one in self.arrangements if one.describes(layer))
        return next((one for one in calls if one is not None and one.queries == tokens), None)

    def why_none(self, layer: str, tokens: int, ordinal: int) -> str:
        """Why nothing describes such a call."""
        if not self.arrangements:
            return self.misfit
        calls = (one.of_call(ordinal) for one in self.arrangements if one.describes(layer))
        known = list(dict.fromkeys(one.queries for one in calls if one is not None))
        if not known:
            return f"call {ordinal} of the layer, which no layout describes"
        return f"{tokens} tokens instead of the layout's {' or '.join(map(str, known))}"


def read_moment(
    clock: Clock, row: ModelRow, component: str, transformer: Any, arguments: Mapping[str, Any]
) -> Moment:
    """Tick the clock and describe one transformer forward.

    Args:
        clock: The pipeline's clock.
        row: What is known about the transformer's class.
        component: The transformer's name in its pipeline.
        transformer: The transformer.
        arguments: The forward's arguments by name.

    Returns:
        The moment.

    Raises:
        IntegrationError: Arguments are missing, or two generations get in each other's way.
    """
    sequence = sequence_of(row)(row, transformer, arguments)
    times, halves, samples, values = _read(sequence, "cond_uncond" in row.branches)
    forward, asked = clock.tick(component, times, row.branches, *samples)
    # Where nobody says whether guidance is on, two prompts may begin with the same noise; a step later they differ.
    both = halves and (forward.step > 0 if asked is None else asked)
    guided = both and forward.branch == "cond_uncond"
    told = row.why_dense(transformer.config) or sequence.arrange(values)
    if isinstance(told, str):
        return Moment(forward, (), sequence.batch, guided, told, row.conditional_first)
    return Moment(forward, told, sequence.batch, guided, "", row.conditional_first)


def _read(sequence: Sequence, batched: bool) -> tuple[Times, bool, list[tuple[float, ...]], list[Tensor]]:
    """The timestep, whether both halves of the batch are equal, samples of the latents and of the text, and what the
    sequence asks for: one transfer."""
    latents = sequence.latents
    stamp, other = read_times(sequence.timestep)
    parts = [] if stamp is None else [stamp]
    half = latents.shape[0] // 2
    look = batched and half > 0 and latents.shape[0] == 2 * half
    if look:
        parts.append((latents[:half] == latents[half:]).all().reshape(1))
    parts += [_sample(latents), _sample_of_text(sequence.arguments.get("encoder_hidden_states"), latents)]
    wanted = sequence.reads()
    parts += wanted
    flat = [part.detach().reshape(-1).to(latents.device, torch.float64) for part in parts]
    values = torch.cat(flat).cpu()
    pieces = iter(values.split([len(part) for part in flat]))
    times = Times.of(other) if stamp is None else _times(next(pieces).tolist(), other)
    halves = bool(next(pieces)) if look else False
    samples = [tuple(next(pieces).tolist()) for _ in range(2)]
    return times, halves, samples, [next(pieces).reshape(one.shape) for one in wanted]


def _sample(latents: Tensor) -> Tensor:
    """Some values of the first item's latents, spread over all axes, always from the same places."""
    flat = latents.detach()[0].reshape(-1)
    apart = max(1, len(flat) // SAMPLED_VALUES) | 1  # odd: no whole number of rows or frames
    return flat[::apart][:SAMPLED_VALUES]


def _sample_of_text(text: Any, latents: Tensor) -> Tensor:
    """The mean over all tokens of some channels, which no part of a text is too short for; empty without a text."""
    first = next(iter(text), None) if isinstance(text, list | tuple) else text
    if not isinstance(first, Tensor) or first.ndim < 2:
        return latents.new_empty(0)
    return first.detach().flatten(0, -2)[:, :SAMPLED_VALUES].mean(0, dtype=torch.float32)


def _times(numbers: list[float], dtype: torch.dtype) -> Times:
    return Times(*(numbers if len(numbers) == 4 else numbers * 4), dtype=dtype)


def bind_forward(transformer: Module) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """A function that names the arguments of a forward call."""
    names = list(inspect.signature(type(transformer).forward).parameters)[1:]

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, args, strict=False)) | kwargs

    return bind
