"""What can be made sparse in a pipeline: its transformers, their self-attentions and heads."""

from dataclasses import dataclass
from typing import Any

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.models import ModelRow, find_row, find_transformers
from videosieve.integrations.diffusers.models.heads import count_heads


@dataclass(frozen=True, slots=True)
class Target:
    """One transformer that `sparsify` hooks or would hook.

    Attributes:
        component: Its name in the pipeline.
        transformer: The transformer.
        row: What is known about its class.
        attentions: Its video self-attention modules by name, in call order.
        heads: Attention heads.
        head_dim: Channels per head.
    """

    component: str
    transformer: Module
    row: ModelRow
    attentions: dict[str, Module]
    heads: int
    head_dim: int

    @property
    def layers(self) -> int:
        """Number of video self-attentions."""
        return len(self.attentions)


def describe(target: Any, images: bool = False) -> list[Target]:
    """What `sparsify` would hook; changes nothing.

    Args:
        target: A diffusers pipeline or a transformer.
        images: Whether image transformers count, which can be looked at and never be made sparse.

    Returns:
        One entry per supported transformer.

    Raises:
        IntegrationError: No supported transformer, or one without the self-attentions its class should have.
    """
    found = []
    for component, transformer in find_transformers(target, images).items():
        row: Any = find_row(transformer, images)
        attentions = row.self_attentions(transformer)
        if not attentions or not all(hasattr(module, "processor") for module in attentions.values()):
            raise IntegrationError(
                f"{component} ({type(transformer).__name__}) must have self-attentions with processors, named like "
                f"{row.attentions!r}, got {len(attentions)} such modules; diffusers 0.36 or later is needed"
            )
        heads, head_dim = count_heads(next(iter(attentions.values())))
        found.append(Target(component, transformer, row, attentions, heads, head_dim))
    return found
