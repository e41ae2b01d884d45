"""Starts a model with few large heads from one of the same width with many small heads."""

from typing import Any

import torch
from torch import Tensor

from videosieve.errors import ModelError
from videosieve.shapes.model import Networks
from videosieve.shapes.pipeline import ShapesPipeline

_QUERIES_AND_KEYS = ("to_q", "to_k", "add_q_proj", "add_k_proj")
_NORMS = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")


def transfer(source: ShapesPipeline, target: Networks) -> None:
    """Copies all weights; neighbouring heads of the source become one head of the target.

    The queries and keys of two joined heads are interleaved pair by pair within each rotary axis, so that half of the
    pairs keep their frequency and the other half gets the next lower one. Values are joined as they stand.

    Args:
        source: Model to copy from.
        target: Networks to change.

    Raises:
        ModelError: The sizes do not allow it.
    """
    small, large = (_config(parts.transformer) for parts in (source, target))
    joined = large.attention_head_dim // small.attention_head_dim
    if joined not in (1, 2) or _frame(source) != _frame(target):
        raise ModelError(
            "a model can start from another one of the same width, layers and text encoder whose heads are of the "
            f"same size or half of it; got (width, dual layers, single layers, text heads) {_frame(target)} from "
            f"{_frame(source)} and head_dim {large.attention_head_dim} from {small.attention_head_dim}"
        )
    weights = source.transformer.state_dict()
    if joined == 2:
        order = _interleaved(tuple(small.rope_axes_dim))
        weights = {name: _join_heads(name, value, order) for name, value in weights.items()}
    target.transformer.load_state_dict(weights)
    target.text_encoder.load_state_dict(source.text_encoder.state_dict())


def _frame(parts: ShapesPipeline | Networks) -> tuple[int, int, int, int]:
    config = _config(parts.transformer)
    width = config.num_attention_heads * config.attention_head_dim
    return width, config.num_layers, config.num_single_layers, _config(parts.text_encoder).heads


def _config(module: Any) -> Any:
    return module.config  # diffusers types it as a dict; it reads like an object


def _interleaved(axes: tuple[int, ...]) -> Tensor:
    """Which value of two joined heads [2 · head_dim] goes to each place of the new one."""
    head_dim, order, start = sum(axes), [], 0
    for axis in axes:
        for pair in range(start, start + axis, 2):
            order += [pair, pair + 1, head_dim + pair, head_dim + pair + 1]
        start += axis
    return torch.tensor(order)


def _join_heads(name: str, value: Tensor, order: Tensor) -> Tensor:
    part = name.split(".")[-2] if "." in name else name
    if "refiner" in name:  # attends to text only, without rotation: its heads are not joined by meaning
        return value
    if part in _NORMS:
        return torch.cat([value, value])[order]
    if part in _QUERIES_AND_KEYS:
        return value.unflatten(0, (-1, len(order)))[:, order].flatten(0, 1)
    return value
