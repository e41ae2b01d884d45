"""Counts the work of one transformer forward from its config alone: it is built and run without memory."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from videosieve.errors import IntegrationError, ModelError
from videosieve.integrations.diffusers.models import MODELS, ModelRow
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.heads import count_heads
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.layout import Grid, VideoLayout
from videosieve.planning.arguments import empty_arguments
from videosieve.planning.known_values import KnownValues


@dataclass(frozen=True, slots=True)
class Work:
    """What one forward computes.

    Attributes:
        layout: The self-attention sequence without padding; that of most layers where they differ.
        layers: Video self-attentions.
        heads: Attention heads.
        head_dim: Channels per head.
        parameters: Weights of the transformer.
        attention: Floating-point operations of the video self-attentions' two matrix products: 4 · queries · keys ·
            heads · head_dim per layer and batch element, padding left out.
        rest: All other matrix products: projections, MLPs, cross-attention, embeddings.
    """

    layout: VideoLayout
    layers: int
    heads: int
    head_dim: int
    parameters: int
    attention: float
    rest: float

    @property
    def grid(self) -> Grid:
        """Video tokens."""
        return self.layout.grid

    @property
    def tokens(self) -> int:
        """Tokens of the self-attention sequence, text included."""
        return self.layout.tokens

    @property
    def share(self) -> float:
        """Attention's share of all work, in [0, 1]."""
        return self.attention / (self.attention + self.rest)

    @property
    def break_even(self) -> int:
        """Tokens at which attention, which grows with their square, and the rest, which grows with them, are equal."""
        return round(self.tokens * self.rest / self.attention)


def count_work(
    name: str, config: Mapping[str, Any], latents: tuple[int, int, int], text: int, batch: int
) -> Work:
    """Run one forward on the meta device and count.

    Args:
        name: A transformer class of MODELS.
        config: Its config, as in `transformer/config.json`; keys that start with "_" are ignored.
        latents: Latent frames, rows and columns.
        text: Text tokens, all of them valid.
        batch: Batch elements, 2 where guidance is batched.

    Returns:
        The work.

    Raises:
        IntegrationError: The class is not supported, not in the installed diffusers, or does not run without memory.
        ModelError: The config or the sizes do not make a working model.
    """
    row = MODELS.get(name)
    if row is None or row.dense:
        counted = ", ".join(row.name for row in MODELS.values() if not row.dense)
        raise IntegrationError(f"work is counted for {counted}, got {name!r}")
    try:
        with torch.device("meta"), torch.no_grad():
            transformer = _build(name, config)
            return count_forward(row, transformer, empty_arguments(row, transformer, latents, text, batch))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{name} does not run with latents {latents} and {text} text tokens: {reason}"
        ) from error


@torch.no_grad()
def count_forward(row: ModelRow, transformer: Any, arguments: Mapping[str, Any]) -> Work:
    """Count one forward of a transformer on the meta device.

    Args:
        row: What is known about its class.
        transformer: The transformer, without memory.
        arguments: The forward's, on any device. What the forward or its layout reads (masks, indices) on the CPU.

    Returns:
        The work.

    Raises:
        ModelError: Such a forward stays dense, so that nothing is known of its sequence.
    """
    with torch.device("cpu"):
        sequence = sequence_of(row)(row, transformer, arguments)
        told = sequence.arrange([value.double() for value in sequence.reads()])
    if isinstance(told, str):
        raise ModelError(f"a forward of {row.name} with these arguments stays dense: {told}")
    known = KnownValues()
    placed = known.place(dict(arguments))
    with torch.device("meta"), known, FlopCounterMode(display=False) as counter, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformer(**placed, return_dict=False)
    modules = row.self_attentions(transformer)
    heads, head_dim = count_heads(next(iter(modules.values())))
    layers = [(sum(one.describes(name) for name in modules), one) for one in told]
    unit = 4.0 * heads * head_dim
    attention = unit * sum(count * _pairs(one, sequence.batch) for count, one in layers)
    counted = unit * sum(count * _padded_pairs(one, sequence.batch) for count, one in layers)
    most = max(layers, key=lambda item: item[0])[1]
    layout = max((group.layout for group in most.groups), key=lambda one: one.tokens)
    parameters = sum(parameter.numel() for parameter in transformer.parameters())
    rest = counter.get_total_flops() - counted
    return Work(layout, len(modules), heads, head_dim, parameters, attention, rest)


def _pairs(one: Arrangement, batch: int) -> int:
    """Pairs of a query and a key in a layer, of all batch items, padding left out."""
    return sum(
        (len(group.items) or batch) * (group.layout.tokens - one.keys_only) * group.layout.tokens
        for group in one.groups
    )


def _padded_pairs(one: Arrangement, batch: int) -> int:
    """The same as the model's own attention computes them, padding and all."""
    return _pairs(one, batch) if one.per_item else batch * one.queries * one.tokens


def _build(name: str, config: Mapping[str, Any]) -> Any:
    import diffusers

    if not hasattr(diffusers, name):
        raise IntegrationError(f"diffusers {diffusers.__version__} has no {name}; a newer one is needed")
    cls: Any = getattr(diffusers, name)
    return cls(**_without_resizing(cls, {key: x for key, x in config.items() if not key.startswith("_")}))


def _without_resizing(cls: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Cosmos resizes a mask of padding with torchvision and joins it: counted as the channel that it becomes."""
    usual: dict[str, Any] = {
        name: one.default for name, one in inspect.signature(cls.__init__).parameters.items()
    }
    if not config.get("concat_padding_mask", usual.get("concat_padding_mask", False)):
        return config
    channels = (usual | config)["in_channels"] + 1
    return config | {"concat_padding_mask": False, "in_channels": channels}
