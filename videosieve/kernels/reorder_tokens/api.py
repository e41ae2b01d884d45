"""Token reordering: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import AXES, FLOATS, check_heads, check_order, check_tensor
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.reorder_tokens import cpu, launch, reference
from videosieve.kernels.triton_support import lazily

_HERE = "videosieve.kernels.reorder_tokens"
MOVABLE = (*FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""What torch gathers on every device; e4m3 and its like are not among them."""

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
        x: [batch, heads, tokens, head_dim], any strides; floats, whole numbers or bool; it may hold nothing.
        order: int64 gather index [tokens], or [batch|1, heads|1, tokens] for an order per head. On a GPU, where its
            values are not looked at, places are clamped into the sequence.
        heads: bool [batch|1, heads|1]; heads to permute, the others are copied. None permutes all.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        A new tensor shaped like x.

    Raises:
        ShapeError: x cannot be read, the index does not fit it or, on the CPU, names tokens that there are not.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_tensor("x", x, AXES, MOVABLE, empty=True)
    check_heads(heads, x)
    places = check_order("order", order, x, permutation=False)
    if places is None:
        raise ShapeError("order must say which token comes first, got None")
    if not x.numel():
        return x.clone()
    order = places
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
