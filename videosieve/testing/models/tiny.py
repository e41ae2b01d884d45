"""What is known of a tiny random transformer: the arguments of a forward, and where its tokens must lie."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.nn import Module

GRID = (3, 4, 6)
"""Frames, rows and columns of tokens: all different, so that exchanged axes show."""


@dataclass
class TinyModel:
    """A tiny transformer with random weights, and what its video self-attentions must look like.

    Everything here is known from the model's own code and not from a row.

    Attributes:
        transformer: In eval mode.
        arguments: Keyword arguments of one forward.
        attentions: Names of the video self-attentions, in the order in which the forward calls them.
        children: By kind of reusable output ("mlp", "cross", "joint"): the names of such modules.
        grid: Token grid of the video.
        text: Valid text tokens in the sequence, one number per batch item where they differ.
        place: Where they sit: "first", "last" or "none".
        before: Other tokens before the video.
        after: Other tokens after it.
        disturb: Changes frame 1 of the video in place, given the latents.
        padded: Length of the sequence where padding makes it longer.
        dtype: Of weights and arguments; fp32 where the model's own code cannot do fp64.
    """

    transformer: Module
    arguments: dict[str, Any]
    attentions: list[str]
    children: dict[str, list[str]] = field(default_factory=dict)
    grid: tuple[int, int, int] = GRID
    text: tuple[int, ...] = (0,)
    place: str = "none"
    before: int = 0
    after: int = 0
    disturb: Callable[[dict[str, Any]], object] = lambda arguments: frame(arguments["hidden_states"], 2).add_(
        1
    )
    padded: int | None = None
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        self.transformer = self.transformer.eval()
        if self.dtype is not torch.float32:
            self.transformer = self.transformer.to(self.dtype)
        self.arguments = copy_as(self.arguments, self.dtype)

    def adapt(self, **arguments: Any) -> "TinyModel":
        """Other arguments, in the model's dtype; returns itself."""
        self.arguments |= copy_as(arguments, self.dtype)
        return self

    def __call__(self, **changes: Any) -> Tensor:
        """The output of one forward, without gradients, on copies of the arguments."""
        with torch.no_grad():
            output = self.transformer(**(copy_as(self.arguments, self.dtype) | changes), return_dict=False)[0]
        return output[0] if isinstance(output, list | tuple) else output

    def disturbed(self) -> dict[str, Any]:
        """The arguments with frame 1 of the video changed."""
        changed = copy_as(self.arguments, self.dtype)
        self.disturb(changed)
        return changed


@dataclass(frozen=True)
class Case:
    """How one tiny model is built.

    Attributes:
        cls: Its class in diffusers; an older release may lack it.
        build: Makes it.
    """

    cls: str
    build: Callable[[], TinyModel]

    @property
    def is_there(self) -> bool:
        """Whether the installed diffusers has the class."""
        return hasattr(diffusers, self.cls)


def new(cls: str, **config: Any) -> Module:
    """A transformer of diffusers with the same random weights every time, gates that begin at 0 too."""
    torch.manual_seed(0)
    model: Module = getattr(diffusers, cls)(**config)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def randn(*shape: int) -> Tensor:
    """Random numbers that depend on the shape alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def times(batch: int = 1, value: float = 500.0) -> Tensor:
    """One timestep per batch item."""
    return torch.full((batch,), value)


def frame(latents: Tensor, axis: int, number: int = 1) -> Tensor:
    """A view of one frame of latents."""
    return latents.narrow(axis, number, 1)


def copy_as(value: Any, dtype: torch.dtype) -> Any:
    """A copy with every floating-point tensor in this dtype."""
    if isinstance(value, Tensor):
        return value.to(dtype, copy=True) if value.is_floating_point() else value.clone()
    if isinstance(value, dict):
        return {key: copy_as(one, dtype) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copy_as(one, dtype) for one in value)
    return value


def blocks(prefix: str, count: int, child: str) -> list[str]:
    """Names like "blocks.0.attn1"."""
    return [f"{prefix}.{number}.{child}" for number in range(count)]
