"""Block-sparse attention: documentation, checks, dispatch."""

import math

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.block_sparse_attention import checks, cpu, native, reference
from videosieve.kernels.block_sparse_attention.foreign import adapters
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.reorder_tokens import reorder_tokens
from videosieve.kernels.triton_support import debugging, lazily
from videosieve.layout import inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask

_HERE = "videosieve.kernels.block_sparse_attention"

IMPLEMENTATIONS = (
    Implementation(
        "triton", checks.refuse_triton_attention, lazily(f"{_HERE}.triton", "block_sparse_attention")
    ),
    Implementation(
        "triton-fp8",
        checks.refuse_fp8_attention,
        lazily(f"{_HERE}.fp8.triton", "block_sparse_attention"),
        automatic=False,
    ),
    Implementation("native", native.refuse, native.block_sparse_attention),
    Implementation("cpu", cpu.refuse, cpu.block_sparse_attention),
    *(
        Implementation(name, refuse, adapters.RUNS[name], automatic=False, verify=adapters.verify(name))
        for name, refuse in adapters.REFUSALS.items()
    ),
    Implementation("reference", anything, reference.block_sparse_attention),
)
# These read and write tokens where they lie; for the others q, k and v are permuted first and the output last.
TAKE_ORDERS = ("triton", "native")


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    *,
    scale: float | None = None,
    backend: str | None = None,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention in which every query sees only the key blocks its query block keeps.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks, of one size or ragged; batch and head axes of size 1 are shared.
        scale: Factor on every q·k; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.
        query_order: Where the mask is in another order than q: a permutation, int64 [queries] or
            [batch|1, heads|1, queries]; place i of the mask is token query_order[i] of q.
        key_order: The same for k and v.

    Returns:
        Output [batch, heads, queries, head_dim] in the dtype of q, and LSE fp32 [batch, heads, queries] (fp64 for
        fp64 inputs), in the order of q. A query that keeps no block has output 0 and LSE −inf.

    Raises:
        ShapeError: Tensors, mask and orders do not fit together.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    _check_shapes(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if torch.compiler.is_compiling() and not _needs_gradient(q, k, v):
        return _as_one_op(q, k, v, mask, scale, backend, query_order, key_order)
    if not torch.compiler.is_compiling():
        _check_order("query_order", query_order, q)
        _check_order("key_order", key_order, k)
    chosen = _choose(q, k, v, mask, scale, backend)
    if query_order is None and key_order is None:
        return chosen.run(q, k, v, mask, scale)
    if chosen.name in TAKE_ORDERS:
        return chosen.run(q, k, v, mask, scale, query_order, key_order)
    if query_order is not None:
        q = reorder_tokens(q, query_order)
    if key_order is not None:
        k, v = reorder_tokens(k, key_order), reorder_tokens(v, key_order)
    output, lse = chosen.run(q, k, v, mask, scale)
    if query_order is not None:
        back = inverse_order(query_order)
        output, lse = reorder_tokens(output, back), reorder_tokens(lse.unsqueeze(-1), back).squeeze(-1)
    return output, lse


def runner(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, *, backend: str | None = None
) -> str:
    """Name of the implementation that `block_sparse_attention` takes for these arguments."""
    scale = q.shape[-1] ** -0.5
    return choose("block_sparse_attention", IMPLEMENTATIONS, backend, q, k, v, mask, scale).name


def _choose(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, scale: float, backend: str | None
) -> Implementation:
    if backend is None and torch.compiler.is_compiling():
        return IMPLEMENTATIONS[-1]  # gradients are asked for, and the reference has them
    return choose("block_sparse_attention", IMPLEMENTATIONS, backend, q, k, v, mask, scale)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask) -> None:
    batch, heads, queries, head_dim = q.shape
    keys = k.shape[2]
    if k.shape != v.shape or k.shape != (batch, heads, keys, head_dim):
        raise ShapeError(
            f"k and v must be [{batch}, {heads}, keys, {head_dim}], got {list(k.shape)} and {list(v.shape)}"
        )
    if (mask.queries, mask.keys) != (queries, keys):
        raise ShapeError(
            f"the mask is for {mask.queries} × {mask.keys} tokens, q and k have {queries} × {keys}"
        )
    if mask.keep.shape[0] not in (1, batch) or mask.keep.shape[1] not in (1, heads):
        raise ShapeError(
            f"mask.keep must start with [1 or {batch}, 1 or {heads}], got {list(mask.keep.shape)}"
        )


def _check_order(name: str, order: Tensor | None, x: Tensor) -> None:
    if order is None:
        return
    batch, heads, tokens = x.shape[:3]
    fits = order.ndim == 1 or (
        order.ndim == 3 and order.shape[0] in (1, batch) and order.shape[1] in (1, heads)
    )
    if order.dtype != torch.int64 or not fits or order.shape[-1] != tokens:
        raise ShapeError(
            f"{name} must be int64 [{tokens}] or [1 or {batch}, 1 or {heads}, {tokens}], "
            f"got {order.dtype} {list(order.shape)}"
        )
    if order.device.type == "cpu" or debugging():  # elsewhere looking at values would make the host wait
        inside = bool(((order >= 0) & (order < tokens)).all())
        named = order.new_zeros(order.shape, dtype=torch.bool)
        if not inside or not bool(named.scatter_(-1, order, True).all()):
            raise ShapeError(f"{name} must be a permutation of 0 … {tokens - 1}")


def _as_one_op(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    scale: float,
    backend: str | None,
    query_order: Tensor | None,
    key_order: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Inside torch.compile the whole call is one opaque operator, so that nothing of it breaks the graph."""
    op = torch.ops.videosieve.block_sparse_attention
    if isinstance(mask, RaggedBlockMask):
        offsets = mask.query_offsets, mask.key_offsets
        return op(q, k, v, mask.keep, None, *offsets, scale, backend, query_order, key_order)
    sides = [mask.block.query, mask.block.key]
    return op(q, k, v, mask.keep, sides, None, None, scale, backend, query_order, key_order)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor keep, SymInt[]? sides, Tensor? query_offsets, Tensor? key_offsets, "
    "float scale, str? backend, Tensor? query_order, Tensor? key_order) -> (Tensor, Tensor)"
)


@torch.library.custom_op("videosieve::block_sparse_attention", mutates_args=(), schema=_SCHEMA)
def _operator(  # noqa: PLR0913 - an operator's schema holds tensors and numbers, not masks
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keep: Tensor,
    sides: list[int] | None,
    query_offsets: Tensor | None,
    key_offsets: Tensor | None,
    scale: float,
    backend: str | None,
    query_order: Tensor | None,
    key_order: Tensor | None,
) -> tuple[Tensor, Tensor]:
    if query_offsets is not None and key_offsets is not None:
        mask = RaggedBlockMask(keep, query_offsets, key_offsets, q.shape[2], k.shape[2])
    else:
        mask = BlockMask(keep, BlockSize(*(sides or ())), q.shape[2], k.shape[2])
    output, lse = block_sparse_attention(
        q, k, v, mask, scale=scale, backend=backend, query_order=query_order, key_order=key_order
    )
    return output.contiguous(), lse.contiguous()


@_operator.register_fake
def _shapes(q: Tensor, *_arguments: object) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(q.shape), q.new_empty(q.shape[:-1], dtype=wide)
