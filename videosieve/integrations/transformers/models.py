"""Which modules of a model are made sparse, and what keeps a model from it. A model is a row, no code."""

from dataclasses import dataclass
from typing import Any
from warnings import warn

from torch.nn import Module

from videosieve.errors import IntegrationError, VideosieveWarning

ROWS = {
    "LlamaAttention": "Llama, SmolLM2",
    "MistralAttention": "Mistral, without a window",
    "Qwen2Attention": "Qwen2, Qwen2.5",
    "Qwen3Attention": "Qwen3",
    "Qwen2VLAttention": "Qwen2-VL, the language model",
    "Qwen2_5_VLAttention": "Qwen2.5-VL, the language model",
    "Qwen3VLTextAttention": "Qwen3-VL, the language model",
}
"""Attention classes that the tests show with tiny weights. Others that keep the same rules are taken with a warning."""

UNABLE = {
    "attn_logit_softcapping": "caps its attention scores softly, which no sparse kernel here computes",
    "sinks": "has attention sinks beside its keys, which no sparse kernel here computes",
}
"""Attributes of an attention module that are not None where it computes more than softmax(q·k)·v."""


@dataclass(frozen=True, slots=True)
class Found:
    """The causal self-attentions of a model.

    Attributes:
        modules: In order.
        configs: Config objects that decide about their implementation, each once.
    """

    modules: list[Module]
    configs: list[Any]


def find_attentions(model: Module) -> Found:
    """The attention modules that can be sparse.

    Args:
        model: A model of transformers.

    Returns:
        At least one module.

    Raises:
        IntegrationError: The model is an encoder-decoder, is not causal, does not choose its attention by name, or its
            attention computes more than can be sparse.
    """
    name, config = type(model).__name__, getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise IntegrationError(
            f"{name} is an encoder-decoder model, whose attention has position biases or is not causal; sparse prefill "
            f"is for decoder-only language models"
        )
    modules = [module for module in model.modules() if _is_causal_attention(module)]
    if not modules:
        raise IntegrationError(
            f"{name} has no causal self-attention with `is_causal`, `layer_idx` and `num_key_value_groups`: it is "
            f"bidirectional or built in another way; sparse prefill is for decoder-only language models"
        )
    for module in modules:
        for attribute, meaning in UNABLE.items():
            if getattr(module, attribute, None) is not None:
                raise IntegrationError(f"{name} {meaning}; it stays dense, leave sparsify out")
    if not getattr(type(model), "_supports_attention_backend", False):
        raise IntegrationError(
            f"{name} does not choose its attention by name (`is_backend_compatible()` is false), so nothing of it can "
            f"be made sparse without patching it; leave sparsify out"
        )
    kinds = sorted({type(module).__name__ for module in modules} - set(ROWS))
    if kinds:
        warn(
            f"{', '.join(kinds)} of {name} has no row of its own here; it keeps the same rules as those that have, and "
            f"is made sparse by them",
            VideosieveWarning,
            stacklevel=4,
        )
    configs = {id(module.config): module.config for module in modules}
    return Found(modules, list(configs.values()))


def _is_causal_attention(module: Module) -> bool:
    return (
        getattr(module, "is_causal", None) is True
        and all(hasattr(module, name) for name in ("layer_idx", "num_key_value_groups", "config"))
        and hasattr(module.config, "_attn_implementation")
    )
