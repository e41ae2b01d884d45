"""Centroid mass: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.arguments import (
    FLOATS,
    check_offsets,
    check_order,
    check_pair,
    check_shared,
    check_tensor,
)
from videosieve.kernels.centroid_mass import launch, native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.triton_support import lazily

IMPLEMENTATIONS = (
    Implementation(
        "triton", launch.refuse, lazily("videosieve.kernels.centroid_mass.triton", "centroid_mass")
    ),
    Implementation("native", native.refuse, native.centroid_mass),
    Implementation("reference", anything, reference.centroid_mass),
)


def centroid_mass(
    q: Tensor,
    keys: Tensor,
    log_sizes: Tensor,
    offsets: Tensor,
    *,
    scale: float | None = None,
    order: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Softmax mass that every block of queries gives to every centroid: the mean over its queries of a softmax.

    softmax(scale · q·k̄ + ln n) over all centroids, which is attention to blocks of n equal keys. Work grows with
    tokens × centroids; no tokens × tokens tensor exists.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        keys: Mean keys [batch, heads, columns, head_dim].
        log_sizes: ln of the tokens of every centroid, [batch|1, heads|1, columns], fp32 as a rule; −inf where it
            has none, and one at least has some.
        offsets: int64 [batch|1, heads|1, rows + 1]; block r of queries holds places offsets[r] … offsets[r + 1] − 1.
        scale: Factor on every q·k̄, finite; head_dim ** -0.5 where left out.
        order: Where the blocks are in another order than q: int64 [queries] or [batch|1, heads|1, queries]; place i is
            token order[i] of q.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        fp32 [batch, heads, rows, columns], fp64 for fp64 inputs; every row adds up to 1, or is 0 without queries.

    Raises:
        ShapeError: The tensors do not fit together, or cannot be read. Values of offsets and orders are looked at on
            the CPU only; on a GPU they are brought into range instead.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_pair(q, keys)
    check_tensor("log_sizes", log_sizes, ("batch", "heads", "columns"), FLOATS)
    check_shared("log_sizes", log_sizes, q.shape[:2], device=q.device)
    if log_sizes.shape[2] != keys.shape[2]:
        raise ShapeError(
            f"log_sizes must have one value for each of {keys.shape[2]} keys, got {list(log_sizes.shape)}"
        )
    offsets, order = check_offsets("offsets", offsets, q), check_order("order", order, q)
    scale = resolve_scale(scale, q.shape[-1])
    if torch.compiler.is_compiling() and not (torch.is_grad_enabled() and q.requires_grad):
        return torch.ops.videosieve.centroid_mass(q, keys, log_sizes, offsets, scale, order, backend)
    chosen = choose("centroid_mass", IMPLEMENTATIONS, backend, q, keys, log_sizes, offsets, scale, order)
    return chosen.run(q, keys, log_sizes, offsets, scale, order)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor q, Tensor keys, Tensor log_sizes, Tensor offsets, float scale, Tensor? order, str? backend) "
    "-> Tensor"
)


@torch.library.custom_op("videosieve::centroid_mass", mutates_args=(), schema=_SCHEMA)
def _operator(
    q: Tensor,
    keys: Tensor,
    log_sizes: Tensor,
    offsets: Tensor,
    scale: float,
    order: Tensor | None,
    backend: str | None,
) -> Tensor:
    return centroid_mass(q, keys, log_sizes, offsets, scale=scale, order=order, backend=backend).contiguous()


@_operator.register_fake
def _shapes(q: Tensor, keys: Tensor, log_sizes: Tensor, offsets: Tensor, *_arguments: object) -> Tensor:
    del log_sizes
    shape = (*q.shape[:2], offsets.shape[-1] - 1, keys.shape[2])
    return q.new_empty(shape, dtype=torch.promote_types(q.dtype, torch.float32))
