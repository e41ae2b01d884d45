"""Dense attention: documentation, checks, dispatch."""

from functools import partial

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.arguments import check_attention
from videosieve.kernels.dense_attention import backends, blocks, native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose

IMPLEMENTATIONS = (
    Implementation("flash-attn-3", backends.refuse_flash3, backends.flash3, verify=backends.verify_flash3),
    Implementation("flash-attn-4", backends.refuse_flash4, backends.flash4, verify=backends.verify_flash4),
    Implementation("cudnn", backends.refuse_cudnn, backends.cudnn),
    Implementation("flash", backends.refuse_flash, backends.flash),
    Implementation("sdpa", anything, backends.sdpa),
    # Faster than torch's on a CPU, yet only by name or by `fastest`: a dense generation keeps the untouched one's bits.
    Implementation("native", native.refuse, native.dense_attention),
    Implementation(
        "native-bf16", native.refuse_rounded, partial(native.dense_attention, rounded=True), automatic=False
    ),
    Implementation("block-sparse", anything, blocks.dense_attention, automatic=False),
    Implementation("reference", anything, reference.dense_attention),
)


def dense_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    causal: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Attention of every query to every key, by the fastest dense kernel present.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, key heads, keys, head_dim]; their heads may divide those of q, whose neighbours share one then.
        v: Values, likewise.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        causal: Whether query i sees keys 0 … i + keys − queries only: the last query sees every key.
        backend: Implementation to use; None takes the fastest that can run the call. Inside torch.compile, where
            choosing would break the graph, None leaves the choice to torch.

    Returns:
        Output [batch, heads, queries, head_dim] in the dtype of q.

    Raises:
        ShapeError: The tensors do not fit together, or cannot be read.
        NumericsError: The scale is no finite number.
        BackendError: The implementation asked for cannot run the call.
    """
    check_attention(q, k, v, grouped=True)
    if not isinstance(causal, bool):
        raise ShapeError(f"causal is True or False, got {causal!r}")
    if causal and k.shape[2] < q.shape[2]:
        raise ShapeError(
            f"causal attention has at least as many keys as queries, the last of both belong together; "
            f"got {q.shape[2]} queries and {k.shape[2]} keys"
        )
    scale = resolve_scale(scale, q.shape[-1])
    if scale <= 0:  # torch multiplies the −inf of what causal attention leaves out by it, and returns NaN
        q, scale = (-q, -scale) if scale else (torch.zeros_like(q), 1.0)
    if backend is None and torch.compiler.is_compiling():
        return backends.sdpa(q, k, v, scale, causal)
    return choose("dense_attention", IMPLEMENTATIONS, backend, q, k, v, scale, causal).run(
        q, k, v, scale, causal
    )


def fastest(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> str:
    """Name of the fastest implementation for these arguments, the native CPU kernel included.

    For dense steps of a sparse generation, which need not equal the untouched pipeline bit by bit.
    """
    check_attention(q, k, v, grouped=True)
    refused = native.refuse(q, k, v, q.shape[-1] ** -0.5, causal) or native.refuse_slow()
    return runner(q, k, v, causal=causal) if refused else "native"


def runner(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, backend: str | None = None) -> str:
    """Name of the implementation that `dense_attention` takes for these arguments."""
    check_attention(q, k, v, grouped=True)
    return choose("dense_attention", IMPLEMENTATIONS, backend, q, k, v, q.shape[-1] ** -0.5, causal).name
