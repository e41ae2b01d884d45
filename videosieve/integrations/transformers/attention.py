"""The attention function that transformers calls by our name: prefill to the layer, everything else as it was."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.integrations.transformers.layers import HANDLE, count_decoded, layer_of, prefill
from videosieve.integrations.transformers.masks import NAME, is_row, last_row_mask
from videosieve.integrations.transformers.previous import attend_as_before

_UNKNOWN = {
    "softcap": "a soft cap on the scores",
    "s_aux": "attention sinks",
    "position_bias": "a position bias",
    "cu_seq_lens_q": "packed sequences",
}
"""Keywords of transformers that say more than q, k and v, and what they mean."""


def register() -> None:
    """Make our name known to transformers, once per process; without a sparse model it changes nothing."""
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, last_row_mask)


def attend(
    module: Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """One attention call of a model whose config names us.

    Args:
        module: The attention module.
        query: [batch, heads, queries, head_dim].
        key: [batch, key heads, keys, head_dim].
        value: Likewise.
        attention_mask: What our mask function returned, or the caller's own.
        **options: `scaling`, `dropout`, `sliding_window` and whatever else the module hands over.

    Returns:
        Output [batch, queries, heads, head_dim], contiguous, and weights where the implementation before returns them.
    """
    if query.size(2) == 1:  # a decoding step asks this of every layer, so nothing else comes first
        if not torch.compiler.is_compiling():
            count_decoded(module)
        return attend_as_before(module, query, key, value, attention_mask, options)
    handle = getattr(module, HANDLE, None)
    if handle is None:
        return attend_as_before(module, query, key, value, attention_mask, options)
    reason = _misfit(query, key, value, attention_mask, options)
    if not reason:
        scale = options.get("scaling")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        output = prefill(query, key, value, attention_mask, scale, handle)
        return output.transpose(1, 2).contiguous(), None
    layer = None if torch.compiler.is_compiling() else layer_of(handle)
    if layer is None:
        return attend_as_before(module, query, key, value, attention_mask, options)
    return layer.attend_dense(query, key, value, attention_mask, reason, options), None


def _misfit(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> str:
    """Why a call is not handed to the recipe, or nothing."""
    reason = _misfit_of_options(key, options)
    if reason:
        return reason
    if mask is not None and not is_row(mask) and not _is_whole(mask, query):
        return "a mask with a row for every query"
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        return "gradients are needed"
    return ""


def _is_whole(mask: Tensor, query: Tensor) -> bool:
    """Whether the layer can look if a mask is plainly causal after all."""
    return mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[2] == query.shape[2]


def _misfit_of_options(key: Tensor, options: dict[str, Any]) -> str:
    for name, meaning in _UNKNOWN.items():
        if options.get(name) is not None:
            return meaning
    window = options.get("sliding_window")
    if window is not None and key.shape[2] > window:
        return f"a window of {window} tokens"
    if options.get("dropout"):
        return "dropout"
    if options.get("output_attentions"):
        return "attention weights were asked for"
    return "it is not causal" if options.get("is_causal") is False else ""
