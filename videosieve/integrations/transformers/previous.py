"""The implementation that a config had before: decoding goes there, and every call that cannot be sparse."""

import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.integrations.transformers.masks import NAME, expand_row, is_row

KNOWN = ("sdpa", "eager")
"""Implementations to which our masks can be handed: others want masks of other kinds."""

# What a config object had before it was switched, by its id; entries live while a run holds the config.
_BEFORE: dict[int, str] = {}


def remember(config: Any, name: str) -> None:
    """Note what a config had."""
    _BEFORE[id(config)] = name


def forget(config: Any) -> str:
    """What a config had; it is noted no longer."""
    return _BEFORE.pop(id(config))


def previous_name(module: Module) -> str:
    """ "sdpa" or "eager": what attends for a module where we do not."""
    return _BEFORE.get(id(getattr(module, "config", None)), "sdpa")


def attend_as_before(
    module: Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> tuple[Tensor, Tensor | None]:
    """One call by the implementation that was there.

    Args:
        module: The attention module.
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, key heads, keys, head_dim].
        v: Values, likewise.
        mask: As our mask function returned it, or the caller's own.
        options: What the module handed over beside.

    Returns:
        Output [batch, queries, heads, head_dim], and weights or None.
    """
    queries = q.size(2)
    if mask is not None and queries > 1 and is_row(mask):
        mask = expand_row(mask, queries)
    name = previous_name(module)
    if name == "sdpa":
        return _registered(name)(module, q, k, v, mask, **options)
    if mask is None and queries > 1:  # eager attention masks only what a mask says
        k, v = k[:, :, :queries], v[:, :, :queries]
        mask = torch.ones(1, 1, queries, queries, dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill(
            ~mask, torch.finfo(q.dtype).min
        )
    eager = sys.modules[type(module).__module__].eager_attention_forward
    return eager(module, q, k, v, mask, **{"dropout": 0.0} | options)


def _registered(name: str) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return ALL_ATTENTION_FUNCTIONS[name]


__all__ = ["KNOWN", "NAME", "attend_as_before", "forget", "previous_name", "remember"]
