"""Compensated attention: documentation, checks, dispatch."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.arguments import (
    BOOL,
    FLOATS,
    check_floats,
    check_masked,
    check_order,
    check_shared,
    check_tensor,
)
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS as EXACT
from videosieve.kernels.centroids import AnyMask, Centroids
from videosieve.kernels.compensated_attention import checks, joined, native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.reorder_tokens import reorder_tokens
from videosieve.kernels.triton_support import lazily
from videosieve.layout import inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask

_HERE = "videosieve.kernels.compensated_attention"
_OWN = ("triton", "native", "native-bf16", "reference")

IMPLEMENTATIONS = (
    Implementation("triton", checks.refuse, lazily(f"{_HERE}.triton", "compensated_attention")),
    Implementation("native", native.refuse, native.compensated_attention),
    Implementation(
        "native-bf16",
        native.refuse_rounded,
        partial(native.compensated_attention, rounded=True),
        automatic=False,
    ),
    *(
        Implementation(kernel.name, joined.refuse(kernel.name), joined.run(kernel.name), kernel.automatic)
        for kernel in EXACT
        if kernel.name not in _OWN
    ),
    Implementation("reference", anything, reference.compensated_attention),
)
# These read and write tokens where they lie; for the others q, k and v are permuted first and the results last.
TAKE_ORDERS = ("triton", "native", "native-bf16")


class Compensated(NamedTuple):
    """What compensated attention returns.

    Attributes:
        output: [batch, heads, queries, head_dim] in the dtype of q; one softmax over kept keys and centroids.
        lse: fp32 [batch, heads, queries] (fp64 for fp64 inputs); over the kept keys alone.
        answered_lse: Likewise, over kept keys and centroids.
    """

    output: Tensor
    lse: Tensor
    answered_lse: Tensor


def compensated_attention(  # noqa: PLR0913 - those of block_sparse_attention, and centroids
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    *,
    scale: float | None = None,
    backend: str | None = None,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
) -> Compensated:
    """Attention to the kept keys, and to one centroid for every block that is left out, under one softmax.

    Block b of n tokens answers with the score scale · q·k̄ + ln n and the value v̄. By Jensen n · exp(scale · q·k̄) is
    at most the mass of the block, so what answers is never given too much weight; where all keys of a block are equal
    it is exact. A query block that keeps everything is computed as `block_sparse_attention` computes it, bit by bit.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks, of one size or ragged; batch and head axes of size 1 are shared.
        centroids: Of the key blocks of the mask, pooled in the order in which it is executed.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        backend: As for `block_sparse_attention`; None takes the fastest that can run the call.
        query_order: As for `block_sparse_attention`.
        key_order: As for `block_sparse_attention`; centroids are in the order of the mask already.

    Returns:
        Output and both LSEs in the order of q.

    Raises:
        ShapeError: Tensors, mask, centroids and orders do not fit together, or cannot be read.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_masked(q, k, v, mask)
    if isinstance(mask, BlockMask) and mask.causal:
        raise ShapeError(
            "centroids answer for whole blocks, and a causal mask cuts blocks on the diagonal; attend to the diagonal "
            "by itself and join both by their LSE, as a causal selection with compensate=True does"
        )
    _check_centroids(q, mask, centroids)
    scale = resolve_scale(scale, q.shape[-1])
    query_order, key_order = (
        check_order("query_order", query_order, q),
        check_order("key_order", key_order, k),
    )
    if torch.compiler.is_compiling() and not _needs_gradient(q, k, v):
        return _as_one_op(q, k, v, mask, centroids, scale, backend, query_order, key_order)
    answers = centroids.answers(mask)
    arguments = (q, k, v, mask, centroids, answers, scale)
    if backend is None and torch.compiler.is_compiling():
        chosen = IMPLEMENTATIONS[-1]  # gradients are asked for, and the reference has them
    else:
        chosen = choose("compensated_attention", IMPLEMENTATIONS, backend, *arguments)
    if query_order is None and key_order is None:
        return Compensated(*chosen.run(*arguments))
    if chosen.name in TAKE_ORDERS:
        return Compensated(*chosen.run(*arguments, query_order, key_order))
    if query_order is not None:
        q = reorder_tokens(q, query_order)
    if key_order is not None:
        k, v = reorder_tokens(k, key_order), reorder_tokens(v, key_order)
    output, *lses = chosen.run(q, k, v, *arguments[3:])
    if query_order is not None:
        back = inverse_order(query_order)
        output = reorder_tokens(output, back)
        lses = [reorder_tokens(lse.unsqueeze(-1), back).squeeze(-1) for lse in lses]
    return Compensated(output, *lses)


def runner(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, *, backend: str | None = None
) -> str:
    """Name of the implementation that `compensated_attention` takes for these arguments."""
    arguments = (q, k, v, mask, centroids, centroids.answers(mask), q.shape[-1] ** -0.5)
    return choose("compensated_attention", IMPLEMENTATIONS, backend, *arguments).name


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _check_centroids(q: Tensor, mask: AnyMask, centroids: Centroids) -> None:
    if not isinstance(centroids, Centroids):
        raise ShapeError(
            f"centroids must be Centroids, as centroids_of makes them, got {type(centroids).__name__}"
        )
    check_floats(q=q, centroid_keys=centroids.keys, centroid_values=centroids.values)
    lead, (rows, columns) = q.shape[:2], mask.keep.shape[2:]
    wanted = (*lead, columns, q.shape[3])
    if centroids.keys.shape != wanted or centroids.values.shape != wanted:
        raise ShapeError(
            f"centroids must be {list(wanted)}, one for each key block of the mask, got "
            f"{list(centroids.keys.shape)} and {list(centroids.values.shape)}"
        )
    check_tensor("log_sizes", centroids.log_sizes, ("batch", "heads", "columns"), FLOATS)
    tables: list[tuple[str, Tensor, tuple[int, ...]]] = [("log_sizes", centroids.log_sizes, (columns,))]
    if centroids.allowed is not None:
        check_tensor("allowed", centroids.allowed, ("batch", "heads", "rows", "columns"), BOOL)
        tables.append(("allowed", centroids.allowed, (rows, columns)))
    for name, table, last in tables:
        if table.shape[2:] != last:
            raise ShapeError(
                f"{name} must be [batch, heads, {', '.join(map(str, last))}], got {list(table.shape)}"
            )
        check_shared(name, table, lead, device=q.device)


def _as_one_op(  # noqa: PLR0913 - the op's arguments
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    scale: float,
    backend: str | None,
    query_order: Tensor | None,
    key_order: Tensor | None,
) -> Compensated:
    """Inside torch.compile the whole call is one opaque operator, so that nothing of it breaks the graph."""
    of_mask: tuple[object, ...] = (
        (mask.keep, [mask.block.query, mask.block.key], None, None)
        if isinstance(mask, BlockMask)
        else (mask.keep, None, mask.query_offsets, mask.key_offsets)
    )
    of_centroids = (centroids.keys, centroids.values, centroids.log_sizes, centroids.allowed)
    op = torch.ops.videosieve.compensated_attention
    return Compensated(*op(q, k, v, *of_mask, *of_centroids, scale, backend, query_order, key_order))


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor keep, SymInt[]? sides, Tensor? query_offsets, Tensor? key_offsets, "
    "Tensor keys, Tensor values, Tensor log_sizes, Tensor? allowed, "
    "float scale, str? backend, Tensor? query_order, Tensor? key_order) -> (Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("videosieve::compensated_attention", mutates_args=(), schema=_SCHEMA)
def _operator(  # noqa: PLR0913 - an operator's schema holds tensors and numbers, not masks
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keep: Tensor,
    sides: list[int] | None,
    query_offsets: Tensor | None,
    key_offsets: Tensor | None,
    keys: Tensor,
    values: Tensor,
    log_sizes: Tensor,
    allowed: Tensor | None,
    scale: float,
    backend: str | None,
    query_order: Tensor | None,
    key_order: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    if query_offsets is not None and key_offsets is not None:
        mask = RaggedBlockMask(keep, query_offsets, key_offsets, q.shape[2], k.shape[2])
    else:
        mask = BlockMask(keep, BlockSize(*(sides or ())), q.shape[2], k.shape[2])
    centroids = Centroids(keys, values, log_sizes, allowed)
    orders = {"query_order": query_order, "key_order": key_order}
    results = compensated_attention(q, k, v, mask, centroids, scale=scale, backend=backend, **orders)
    output, lse, both = (x.contiguous() for x in results)
    return output, lse, both


@_operator.register_fake
def _shapes(q: Tensor, *_arguments: object) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    lse = q.new_empty(q.shape[:-1], dtype=wide)
    return q.new_empty(q.shape), lse, torch.empty_like(lse)
