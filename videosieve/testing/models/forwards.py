"""A tiny transformer with a forward of it: what the attention sequence must look like, written down by hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from videosieve.layout import Grid, Segment, VideoLayout


@dataclass
class Forward:
    """One transformer and the arguments of one forward.

    Attributes:
        model: In eval mode, random weights.
        inputs: Keyword arguments.
        layout: What self-attention attends over.
        attentions: Names of the video self-attentions, in call order.
        latents: Picks the latents of the generated video out of the arguments: a view [..., frames, rest].
        at: The arguments at another timestep.
        branches: Name of every call of a step, and what differs in it from `inputs`.
        named: Whether the pipeline names its branches in `cache_context`.
        reusable: Names of feed-forwards and cross-attentions, by kind.
        scheduler: Class of the scheduler that gives its timesteps.
    """

    model: Any
    inputs: dict[str, Any]
    layout: VideoLayout
    attentions: tuple[str, ...]
    latents: Callable[[dict[str, Any]], Tensor]
    at: Callable[[dict[str, Any], Tensor], dict[str, Any]]
    branches: dict[str, dict[str, Any]] = field(default_factory=lambda: {"cond_uncond": {}})
    named: bool = True
    reusable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scheduler: Any = FlowMatchEulerDiscreteScheduler

    @torch.no_grad()
    def run(self, **changes: Any) -> list[Tensor]:
        """The tensors that one forward returns."""
        return list(_tensors(self.model(**{**self.inputs, **changes}, return_dict=False)))

    def moved(self, frame: int) -> dict[str, Any]:
        """The arguments with other latents in one frame of the generated video."""
        changed = {key: _copied(value) for key, value in self.inputs.items()}
        self.latents(changed).select(-2, frame).add_(1)
        return changed

    @torch.no_grad()
    def generate(self, steps: int = 3, coarse: bool = False) -> Tensor:
        """The outputs of a denoising loop without a pipeline; `coarse` rounds its timesteps until some coincide."""
        scheduler = self.scheduler()
        scheduler.set_timesteps(steps)
        unit = scheduler.timesteps.max() / 2
        outputs = []
        for time in scheduler.timesteps:
            for branch, changes in self.branches.items():
                shown = (time / unit).round() * unit if coarse else time
                inputs = self.at({**self.inputs, **changes}, shown)
                with self.model.cache_context(branch) if self.named else nullcontext():
                    outputs += [x.flatten() for x in _tensors(self.model(**inputs, return_dict=False))]
            scheduler.step(outputs[-1], time, outputs[-1])
        return torch.cat(outputs)


def rows_of(frames: int, first: int = 0, count: int | None = None) -> Callable[[dict[str, Any]], Tensor]:
    """The generated video among packed latents [batch, rows, channels], as [batch, frames, rest].

    Args:
        frames: Its frames.
        first: Its first row.
        count: Its rows; None takes all that follow.
    """

    def pick(inputs: dict[str, Any]) -> Tensor:
        packed: Tensor = inputs["hidden_states"]
        stop = None if count is None else first + count
        return packed[:, first:stop].unflatten(1, (frames, -1)).flatten(2)

    return pick


def sequence(*, text: int = 0, before: int = 0, video: tuple[int, int, int], after: int = 0) -> VideoLayout:
    """The layout [text | extra | video | extra], given in tokens."""
    grid = Grid(*video)
    first = [Segment("text", text)] if text else []
    second = [Segment("extra", before)] if before else []
    last = [Segment("extra", after)] if after else []
    return VideoLayout((*first, *second, Segment("video", grid.tokens, grid), *last))


@contextmanager
def observed(model: Any) -> Iterator[list[tuple[str, int, int]]]:
    """What every attention call of an untouched model gets: module, query rows, key rows."""
    calls: list[tuple[str, int, int]] = []
    inside: list[str] = [""]
    original = F.scaled_dot_product_attention

    def spy(query: Tensor, key: Tensor, *args: Any, **options: Any) -> Tensor:
        calls.append((inside[0], query.shape[-2], key.shape[-2]))
        return original(query, key, *args, **options)

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: inside.__setitem__(0, name)

    modules = {name: module for name, module in model.named_modules() if hasattr(module, "processor")}
    hooks = [module.register_forward_pre_hook(enter(name)) for name, module in modules.items()]
    F.scaled_dot_product_attention = spy  # type: ignore[assignment]
    try:
        yield calls
    finally:
        F.scaled_dot_product_attention = original  # type: ignore[assignment]
        for hook in hooks:
            hook.remove()


def noise(*shape: int) -> Tensor:
    """Gaussian noise of a shape, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def seeded(make: Callable[..., Any], **config: Any) -> Any:
    """A model with random weights, always the same, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(**config).eval()


def _tensors(output: Any) -> Iterator[Tensor]:
    for one in output:
        if isinstance(one, Tensor):
            yield one
        elif one is not None:
            yield from _tensors(one)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return [_copied(one) for one in value] if isinstance(value, list) else value
