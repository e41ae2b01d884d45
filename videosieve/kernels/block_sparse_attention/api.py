"""Block-sparse attention: documentation, checks, dispatch."""

from functools import partial

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.arguments import check_masked, check_order
from videosieve.kernels.block_sparse_attention import checks, cpu, native, reference
from videosieve.kernels.block_sparse_attention.checks import is_causal
from videosieve.kernels.block_sparse_attention.foreign import adapters
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.reorder_tokens import reorder_tokens
from videosieve.kernels.triton_support import lazily
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
    Implementation(
        "native-bf16",
        native.refuse_rounded,
        partial(native.block_sparse_attention, rounded=True),
        automatic=False,
    ),
    Implementation("cpu", cpu.refuse, cpu.block_sparse_attention),
    *(
        Implementation(name, refuse, adapters.RUNS[name], automatic=False, verify=adapters.verify(name))
        for name, refuse in adapters.REFUSALS.items()
    ),
    Implementation("reference", anything, reference.block_sparse_attention),
)
# These read and write tokens where they lie; for the others q, k and v are permuted first and the output last.
TAKE_ORDERS = ("triton", "native", "native-bf16")


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
        k: Keys [batch, key heads, keys, head_dim]; their heads may divide those of q, whose neighbours share one then.
        v: Values, likewise.
        mask: The kept blocks, of one size or ragged; batch and head axes of size 1 are shared. Where it is causal, what
            lies ahead of a query inside its blocks is left out too.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.
        query_order: Where the mask is in another order than q: a permutation, int64 [queries] or
            [batch|1, heads|1, queries]; place i of the mask is token query_order[i] of q.
        key_order: The same for k and v. Whether orders are permutations is looked at on the CPU only; on a GPU that
            would make the host wait, and places are clamped into the sequence instead (VIDEOSIEVE_DEBUG looks).

    Returns:
        Output [batch, heads, queries, head_dim] in the dtype of q, and LSE fp32 [batch, heads, queries] (fp64 for
        fp64 inputs), in the order of q. A query that keeps no block has output 0 and LSE −inf.

    Raises:
        ShapeError: Tensors, mask and orders do not fit together, or cannot be read.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_masked(q, k, v, mask, grouped=True)
    scale = resolve_scale(scale, q.shape[-1])
    if is_causal(mask) and (query_order is not None or key_order is not None):
        raise ShapeError(
            "a causal mask is about tokens in their own order; leave query_order and key_order out"
        )
    query_order, key_order = (
        check_order("query_order", query_order, q),
        check_order("key_order", key_order, k),
    )
    if torch.compiler.is_compiling() and not _needs_gradient(q, k, v):
        return _as_one_op(q, k, v, mask, scale, backend, query_order, key_order)
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
    sides = [mask.block.query, mask.block.key, *([1] if mask.causal else [])]
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
        query_side, key_side, *causal = sides or (0, 0)
        mask = BlockMask(keep, BlockSize(query_side, key_side), q.shape[2], k.shape[2], causal == [1])
    output, lse = block_sparse_attention(
        q, k, v, mask, scale=scale, backend=backend, query_order=query_order, key_order=key_order
    )
    return output.contiguous(), lse.contiguous()


@_operator.register_fake
def _shapes(q: Tensor, *_arguments: object) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(q.shape), q.new_empty(q.shape[:-1], dtype=wide)
