"""Counts the work of one transformer forward from its config alone: it is built and run without memory."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from videosieve.errors import IntegrationError, ModelError
from videosieve.integrations.diffusers.models import MODELS, ModelRow
from videosieve.integrations.diffusers.models.heads import count_heads
from videosieve.layout import Grid
from videosieve.planning.arguments import empty_arguments, grid_of
from videosieve.planning.packed_arguments import MAKERS


@dataclass(frozen=True, slots=True)
class Work:
    """What one forward computes.

    Attributes:
        grid: Video tokens.
        tokens: Tokens of the self-attention sequence, text included.
        layers: Video self-attentions.
        heads: Attention heads.
        head_dim: Channels per head.
        parameters: Weights of the transformer.
        attention: Floating-point operations of the video self-attentions' two matrix products: 4 · tokens² · heads ·
            head_dim per layer and batch element.
        rest: All other matrix products: projections, MLPs, cross-attention, embeddings.
    """

    grid: Grid
    tokens: int
    layers: int
    heads: int
    head_dim: int
    parameters: int
    attention: float
    rest: float

    @property
    def share(self) -> float:
        """Attention's share of all work, in [0, 1]."""
        return self.attention / (self.attention + self.rest)


def count_work(
    name: str, config: Mapping[str, Any], latents: tuple[int, int, int], text: int, batch: int
) -> Work:
    """Run one forward on the meta device and count.

    Args:
        name: A transformer class of MODELS.
        config: Its config, as in `transformer/config.json`; keys that start with "_" are ignored.
        latents: Latent frames, rows and columns.
        text: Text tokens.
        batch: Batch elements, 2 where guidance is batched.

    Returns:
        The work.

    Raises:
        IntegrationError: The class is not supported, not in the installed diffusers, or does not run without memory.
        ModelError: The config or the sizes do not make a working model.
    """
    row = MODELS.get(name)
    if row is None or not _is_counted(row):
        counted = ", ".join(row.name for row in MODELS.values() if _is_counted(row))
        raise IntegrationError(f"work is counted for {counted}, got {name!r}")
    try:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transformer = _build(name, config)
            given = empty_arguments(row, transformer, latents, text, batch)
            with FlopCounterMode(display=False) as counter:
                transformer(**given, return_dict=False)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{name} does not run with latents {latents} and {text} text tokens: {reason}"
        ) from error
    grid = grid_of(row, transformer.config, latents)
    tokens = grid.tokens + (0 if row.text == "none" else text)
    tokens = len(given["position_ids"]) if "position_ids" in given else tokens  # audio is in the sequence too
    layers = len(row.self_attentions(transformer))
    heads, head_dim = count_heads(next(iter(row.self_attentions(transformer).values())))
    attention = 4.0 * batch * layers * tokens**2 * heads * head_dim
    parameters = sum(parameter.numel() for parameter in transformer.parameters())
    return Work(
        grid, tokens, layers, heads, head_dim, parameters, attention, counter.get_total_flops() - attention
    )


def _is_counted(row: ModelRow) -> bool:
    return not row.dense and (row.sequence == "latents" or row.sequence in MAKERS)


def _build(name: str, config: Mapping[str, Any]) -> Any:
    import diffusers

    if not hasattr(diffusers, name):
        raise IntegrationError(f"diffusers {diffusers.__version__} has no {name}; a newer one is needed")
    return getattr(diffusers, name)(
        **{key: value for key, value in config.items() if not key.startswith("_")}
    )
