"""What is known of a tiny random transformer whose sequences are more than video and text: where every token lies.

The facts come from the models' own code and from no row, so that rows can be held against them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.nn import Module

from videosieve.layout import Grid, Segment, SegmentKind, VideoLayout

GRID = Grid(3, 5, 4)
"""Token grid of the tiny videos: no two sides are equal, so that exchanged axes show."""


@dataclass
class SequenceModel:
    """A tiny transformer, the arguments of a forward, and what its video self-attentions look like then.

    Attributes:
        transformer: In eval mode.
        arguments: Keyword arguments of one forward.
        attentions: Names of the video self-attentions in the order in which the forward calls them.
        layouts: Of every batch item where items are attended one by one; else one for all.
        others: The same for attentions with another sequence, by name.
        reusable: By kind of reusable output: names of the modules.
        without_batch: Arguments that have no batch axis.
        times: Timesteps of three steps, as the family's pipelines hand them over.
    """

    transformer: Module
    arguments: dict[str, Any]
    attentions: list[str]
    layouts: tuple[VideoLayout, ...]
    others: dict[str, tuple[VideoLayout, ...]] = field(default_factory=dict)
    reusable: dict[str, list[str]] = field(default_factory=dict)
    without_batch: tuple[str, ...] = ()
    times: tuple[float, ...] = (900.0, 500.0, 100.0)

    def __call__(self, **changes: Any) -> Tensor:
        """The output of one forward, without gradients."""
        with torch.no_grad():
            return self.transformer(**(self.arguments | changes), return_dict=False)[0]

    def calls(self) -> list[tuple[str, tuple[int, ...], VideoLayout]]:
        """Every attention call of a forward: layer, batch items (empty for all at once) and layout."""
        expected = []
        for name in self.attentions:
            layouts = self.others.get(name, self.layouts)
            single = len(layouts) == 1
            expected += [(name, () if single else (item,), one) for item, one in enumerate(layouts)]
        return expected

    def only(self, item: int) -> dict[str, Any]:
        """The arguments with one item of the batch."""

        def pick(name: str, value: Any) -> Any:
            return (
                value[item : item + 1]
                if isinstance(value, Tensor) and name not in self.without_batch
                else value
            )

        return {name: pick(name, value) for name, value in self.arguments.items()}

    def disturbed(self, frame: int = 1) -> dict[str, Any]:
        """The arguments with one frame of the latents [batch, channels, frames, rows, columns] changed."""
        latents = self.arguments["hidden_states"].clone()
        latents[:, :, frame] += 1
        return self.arguments | {"hidden_states": latents}

    def double(self) -> Tensor:
        """The output of the untouched model in fp64."""
        arguments = {
            name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
            for name, value in self.arguments.items()
        }
        linear = [part for part in self.transformer.double().modules() if isinstance(part, torch.nn.Linear)]
        # embeddings of timesteps are fp32 whatever the model is
        hooks = [part.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),)) for part in linear]
        try:
            return self(**arguments)
        finally:
            self.transformer.float()
            for hook in hooks:
                hook.remove()


@dataclass(frozen=True)
class SequenceCase:
    """How a tiny model is built.

    Attributes:
        cls: Its class in diffusers.
        build: Makes it.
    """

    cls: str
    build: Callable[[], SequenceModel]

    @property
    def is_there(self) -> bool:
        """Whether the installed diffusers has the class."""
        return hasattr(diffusers, self.cls)


def make(cls: str, **config: Any) -> Module:
    """A transformer of diffusers with the same random weights every time.

    What starts at zero (gates, learned frequencies) or one (scales of norms) gets random values too: it would hide what
    is behind it, or which of two norms was taken.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer: Module = getattr(diffusers, cls)(**config).eval()
        for parameter in transformer.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
            elif (parameter == 1).all():
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return transformer


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def valid(rows: int, *lengths: int) -> Tensor:
    """int64 [items, rows] with so many ones first."""
    return (torch.arange(rows) < torch.tensor(lengths)[:, None]).long()


def lay(*, text_first: int = 0, extra_first: int = 0, grid: Grid = GRID, text_last: int = 0) -> VideoLayout:
    """[text | extra | video | text], empty parts left out."""
    parts: list[tuple[SegmentKind, int, Grid | None]] = [
        ("text", text_first, None),
        ("extra", extra_first, None),
        ("video", grid.tokens, grid),
        ("text", text_last, None),
    ]
    return VideoLayout(tuple(Segment(kind, tokens, one) for kind, tokens, one in parts if tokens))


def names(blocks: str, count: int, *modules: str) -> list[str]:
    """Module names like "blocks.0.attn1", block by block."""
    return [f"{blocks}.{number}.{module}" for number in range(count) for module in modules]
