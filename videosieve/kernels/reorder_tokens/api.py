"""Token reordering: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.reorder_tokens import cpu, launch, reference
from videosieve.kernels.triton_support import lazily

_HERE = "videosieve.kernels.reorder_tokens"

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily(f"{_HERE}.triton", "reorder_tokens")),
    Implementation("cpu", cpu.refuse, cpu.reorder_tokens),
    Implementation("reference", anything, reference.reorder_tokens),
)


def reorder_tokens(
    x: Tensor, order: Tensor, *, heads: Tensor | None = None, backend: str | None = None
) -> Tensor:
    """Permute the tokens of chosen heads: `y[b, h, i] = x[b, h, order[i]]`.

    Args:
        x: [batch, heads, tokens, head_dim].
        order: int64 gather index [tokens], or [batch|1, heads|1, tokens] for an order per head.
        heads: bool [batch|1, heads]; heads to permute, the others are copied. None permutes all.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        A new tensor shaped like x.

    Raises:
        ShapeError: The index does not fit x.
    """
    if order.ndim not in (1, 3) or order.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"order must be [{x.shape[-2]}] or [batch, heads, {x.shape[-2]}], got {list(order.shape)}"
        )
    if torch.compiler.is_compiling():
        return torch.ops.videosieve.reorder_tokens(x, order, heads, backend)
    chosen = choose("reorder_tokens", IMPLEMENTATIONS, backend, x, order, heads)
    return chosen.run(x, order, heads)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor x, Tensor order, Tensor? heads, str? backend) -> Tensor"


@torch.library.custom_op("videosieve::reorder_tokens", mutates_args=(), schema=_SCHEMA)
def _operator(x: Tensor, order: Tensor, heads: Tensor | None, backend: str | None) -> Tensor:
    return reorder_tokens(x, order, heads=heads, backend=backend).contiguous()


@_operator.register_fake
def _shapes(x: Tensor, *_arguments: object) -> Tensor:
    return x.new_empty(x.shape)
