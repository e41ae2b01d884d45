"""The clock: before every transformer forward it learns the token layout, the denoising step and the branch.

Attention calls are never counted, because caches skip them. The step is the number of times `timestep` has changed
since the generation began; a generation begins when the scheduler was given new timesteps, when `timestep` goes back
up, or when the last step is asked for the same branch again.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.models import ModelRow
from videosieve.layout import VideoLayout
from videosieve.run import Run


@dataclass(frozen=True, slots=True)
class Group:
    """Batch elements that share one layout.

    Attributes:
        layout: Which token is which, padding left out.
        members: Indices into the batch; None means the whole batch.
    """

    layout: VideoLayout
    members: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds for every attention call of one transformer forward.

    Attributes:
        groups: The batch, by layout; empty where no layout fits the arguments.
        tokens: Length of the attention sequence with padding.
        batch: Batch elements; matters where there is more than one group.
        padded: Whether the model masks text padding that the layouts leave out.
        step: Denoising step, from 0.
        steps: Denoising steps of the generation.
        branch: "cond", "uncond" or "cond_uncond".
        guided: Whether a "cond_uncond" batch really holds both branches, the unconditional half first.
    """

    groups: tuple[Group, ...] = ()
    tokens: int = 0
    batch: int = 0
    padded: bool = False
    step: int = 0
    steps: int = 1
    branch: str = "cond"
    guided: bool = False


class Clock:
    """Step and branch of one pipeline, shared by all its transformers.

    Attributes:
        step: Denoising step, from 0; -1 before the first forward.
        branch: Name of the running call within the step.
        context: Name given by diffusers' `cache_context`, while inside one.
        held: Step and branch of forwards that are repeated outside a pipeline call; None lets the clock run.

    Args:
        run: Told when a generation begins.
        pipeline: Where the number of steps is read; None for a bare transformer.
        steps: Number of steps where the caller knows it; None reads it from the pipeline.
    """

    def __init__(self, run: Run, pipeline: Any, steps: int | None) -> None:
        self.step = -1
        self.branch = ""
        self.context: str | None = None
        self.held: tuple[int, str] | None = None
        self._run = run
        self._pipeline = pipeline
        self._steps = steps
        self._time = float("inf")
        self._calls: list[str] = []
        self._schedule: object = None

    def tick(self, time: float, branches: tuple[str, ...]) -> None:
        """Note that a transformer is about to run at this timestep."""
        if self.held is not None:
            self.step, self.branch = self.held
            return
        schedule = getattr(getattr(self._pipeline, "scheduler", None), "timesteps", None)
        branch = self.context or branches[len(self._calls) % len(branches)]
        again = time == self._time and self.step + 1 == self._known_steps() and branch in self._calls
        if self.step < 0 or time > self._time or schedule is not self._schedule or again:
            self._run.begin()
            self.step, self._calls, self._schedule = 0, [], schedule
        elif time < self._time:
            self.step, self._calls = self.step + 1, []
        self.branch = self.context or branches[len(self._calls) % len(branches)]
        self._calls.append(self.branch)
        self._time = time

    @property
    def steps(self) -> int:
        """Denoising steps of the generation; never fewer than were seen."""
        return max(self._known_steps(), self.step + 1)

    @property
    def guided(self) -> bool:
        """Whether the pipeline has classifier-free guidance on."""
        told = getattr(self._pipeline, "do_classifier_free_guidance", None)
        return (getattr(self._pipeline, "guidance_scale", 0) or 0) > 1 if told is None else bool(told)

    def _known_steps(self) -> int:
        timesteps = getattr(getattr(self._pipeline, "scheduler", None), "timesteps", ())
        return self._steps or getattr(self._pipeline, "_num_timesteps", None) or len(timesteps)


def read_moment(clock: Clock, row: ModelRow, transformer: Any, arguments: Mapping[str, Any]) -> Moment:
    """Tick the clock and describe one transformer forward.

    Args:
        clock: The pipeline's clock.
        row: What is known about the transformer's class.
        transformer: The transformer.
        arguments: The forward's arguments by name.

    Returns:
        The moment. Reads `timestep` and the text mask from the device: once per forward, never per layer.
    """
    latents, timestep = arguments.get("hidden_states"), arguments.get("timestep")
    if not isinstance(latents, Tensor) or timestep is None:
        raise IntegrationError(
            f"{row.name} must be called with hidden_states and timestep, got {', '.join(arguments) or 'nothing'}"
        )
    # Wan 2.2 TI2V hands one timestep per token, 0 for the tokens of the given image.
    clock.tick(float(timestep.max() if isinstance(timestep, Tensor) else timestep), row.branches)
    grid = row.grid(tuple(latents.shape), transformer.config)
    text = 0 if row.text == "none" else arguments["encoder_hidden_states"].shape[1]
    lengths = _valid_text(row, arguments, text, latents.shape[0])
    groups = []
    for length in dict.fromkeys(lengths):
        place = {"text_first": length} if row.text == "first" else {"text_last": length}
        layout = VideoLayout.of(grid.frames, grid.height, grid.width, **place)
        members = tuple(i for i, other in enumerate(lengths) if other == length)
        groups.append(Group(layout, None if len(members) == len(lengths) else members))
    padded = bool(row.text_mask)
    return Moment(
        tuple(groups),
        grid.tokens + text,
        len(lengths),
        padded,
        clock.step,
        clock.steps,
        clock.branch,
        clock.guided,
    )


def _valid_text(row: ModelRow, arguments: Mapping[str, Any], text: int, batch: int) -> list[int]:
    mask = arguments.get(row.text_mask) if row.text_mask else None
    if mask is None:
        return [text] * batch
    return mask.sum(dim=1, dtype=torch.int).tolist()


def bind_forward(transformer: Module) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """A function that names the arguments of a forward call."""
    names = list(inspect.signature(type(transformer).forward).parameters)[1:]

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, args, strict=False)) | kwargs

    return bind


def follow_cache_context(transformer: Any, clock: Clock) -> Callable[[], None]:
    """Let the clock hear the branch name that the pipeline gives to diffusers' caches.

    The name is handed only to cache hooks, so the transformer *instance* gets a `cache_context` that listens and
    passes on. Works for the plain names of diffusers < 0.42 and for its CacheContext alike.

    Args:
        transformer: The transformer; one without `cache_context` is left alone.
        clock: Where the name is noted.

    Returns:
        A function that takes the listener off again.
    """
    if not hasattr(transformer, "cache_context"):
        return lambda: None
    original = transformer.cache_context

    @contextmanager
    def cache_context(name: str, **details: Any) -> Iterator[None]:
        clock.context = name
        try:
            with original(name, **details):
                yield
        finally:
            clock.context = None

    transformer.cache_context = cache_context
    return lambda: transformer.__dict__.pop("cache_context", None)
