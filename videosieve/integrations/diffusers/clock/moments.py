"""What holds for every attention call of one forward: its identity, and which token is which for every batch item.

The device is read once per forward: timestep, text lengths, and whether the two halves of the batch are the same
latents, which is how a batch with both branches of guidance is known.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.forward import Forward
from videosieve.integrations.diffusers.clock.clock import Clock
from videosieve.integrations.diffusers.clock.positions import Times, read_times
from videosieve.integrations.diffusers.models import ModelRow
from videosieve.layout import VideoLayout


@dataclass(frozen=True, slots=True)
class Group:
    """Batch items that are attended together.

    Attributes:
        layout: Which token is which, padding left out.
        items: Indices into the batch; empty means the whole batch.
    """

    layout: VideoLayout
    items: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds for every attention call of one transformer forward.

    Attributes:
        forward: Generation, step, branch and pass.
        groups: The batch: as a whole, or item by item where the model pads their texts; empty where no layout fits.
        tokens: Length of the attention sequence with padding.
        batch: Batch items of the forward.
        padded: Whether the model masks text padding that the layouts leave out.
        guided: Whether this batch holds both branches of guidance, the unconditional half first.
    """

    forward: Forward = field(default_factory=Forward)
    groups: tuple[Group, ...] = ()
    tokens: int = 0
    batch: int = 0
    padded: bool = False
    guided: bool = False

    def holds_both(self, batch: int) -> bool:
        """Whether so many items, as they arrive at attention, are both branches: a cache may have left a half out."""
        return self.guided and batch == self.batch


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
    latents, timestep = arguments.get("hidden_states"), arguments.get("timestep")
    if not isinstance(latents, Tensor) or timestep is None:
        raise IntegrationError(
            f"{row.name} must be called with hidden_states and timestep, got {', '.join(arguments) or 'nothing'}"
        )
    mask = arguments.get(row.text_mask) if row.text_mask else None
    times, halves, lengths = _read(latents, timestep, mask, "cond_uncond" in row.branches)
    forward, asked = clock.tick(component, times, row.branches)
    grid = row.grid(tuple(latents.shape), transformer.config)
    batch = latents.shape[0]
    text = 0 if row.text == "none" else arguments["encoder_hidden_states"].shape[1]

    def layout(length: int) -> VideoLayout:
        place = {"text_first": length} if row.text == "first" else {"text_last": length}
        return VideoLayout.of(grid.frames, grid.height, grid.width, **place)

    if mask is None or batch == 1:
        groups = (Group(layout(lengths[0] if lengths else text)),)
    else:  # item by item: a prompt's selection, state and noise of sampled rows are then those of it alone
        each = lengths * (batch // len(lengths))  # one text may stand for all items
        groups = tuple(Group(layout(length), (item,)) for item, length in enumerate(each))
    # Where nobody says whether guidance is on, two prompts may begin with the same noise; a step later they differ.
    both = halves and (forward.step > 0 if asked is None else asked)
    guided = both and forward.branch == "cond_uncond"
    return Moment(forward, groups, grid.tokens + text, batch, bool(row.text_mask), guided)


def _read(
    latents: Tensor, timestep: Any, mask: Tensor | None, batched: bool
) -> tuple[Times, bool, list[int]]:
    """The timestep, whether both halves of the batch are equal, and the valid text of every item: one transfer."""
    stamp, other = read_times(timestep)
    parts = [] if stamp is None else [stamp.to(latents.device)]
    half = latents.shape[0] // 2
    look = batched and half > 0 and latents.shape[0] == 2 * half
    if look:
        parts.append((latents[:half] == latents[half:]).all().double().reshape(1))
    if mask is not None:
        parts.append(mask.sum(dim=1).double().to(latents.device))
    values = torch.cat(parts).tolist() if parts else []
    if stamp is None:
        times = Times.of(other)
    else:
        numbers, values = values[: len(stamp)], values[len(stamp) :]
        times = Times(*(numbers if len(numbers) == 4 else numbers * 4), dtype=other)
    halves = bool(values.pop(0)) if look else False
    return times, halves, [int(value) for value in values]


def bind_forward(transformer: Module) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """A function that names the arguments of a forward call."""
    names = list(inspect.signature(type(transformer).forward).parameters)[1:]

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, args, strict=False)) | kwargs

    return bind
