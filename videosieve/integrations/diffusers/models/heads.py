"""Heads and channels of a self-attention, from the module itself: configs name them in ten ways, or not at all."""

from typing import Any

from torch.nn import Module

from videosieve.errors import IntegrationError

_HEADS = ("heads", "num_heads", "num_attention_heads", "n_heads")
_QUERIES = ("to_q", "to_query", "q_proj", "query", "q", "to_qkv")


def count_heads(attention: Module) -> tuple[int, int]:
    """Attention heads and channels per head.

    Args:
        attention: A self-attention with a number of heads and a linear projection of queries.

    Returns:
        Heads and head_dim: the projection's outputs divided by the heads. Never the hidden size divided by them, which
        some models choose otherwise.

    Raises:
        IntegrationError: It has no such number or no such projection.
    """
    heads = next((x for name in _HEADS if isinstance(x := getattr(attention, name, None), int)), None)
    found = next(((name, x) for name in _QUERIES if (x := getattr(attention, name, None)) is not None), None)
    if heads is None or found is None:
        raise IntegrationError(
            f"a self-attention must have a number of heads ({', '.join(_HEADS)}) and a projection of queries "
            f"({', '.join(_QUERIES)}), {type(attention).__name__} has "
            f"{'no such number' if heads is None else 'no such projection'}"
        )
    name, projection = found
    return heads, _outputs(projection) // (3 if name == "to_qkv" else 1) // heads


def _outputs(projection: Any) -> int:
    """Of a linear, or of the linear that a LoRA wraps: the deepest that says it."""
    for module in projection.modules():
        if isinstance(count := getattr(module, "out_features", None), int):
            return count
    weight = next((x for x in projection.parameters() if x.ndim == 2), None)
    if weight is None:
        raise IntegrationError(
            f"the projection of queries must be a linear, {type(projection).__name__} says no number of outputs"
        )
    return int(weight.shape[0])
