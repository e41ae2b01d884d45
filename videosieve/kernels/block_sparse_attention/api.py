"""Block-sparse attention: documentation, checks, dispatch."""

from torch import Tensor

from videosieve.block_mask import BlockMask
from videosieve.errors import ShapeError
from videosieve.kernels.block_sparse_attention import cpu, native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.ragged_mask import RaggedBlockMask

IMPLEMENTATIONS = (
    Implementation("native", native.refuse, native.block_sparse_attention),
    Implementation("cpu", cpu.refuse, cpu.block_sparse_attention),
    Implementation("reference", anything, reference.block_sparse_attention),
)


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    *,
    scale: float | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention in which every query sees only the key blocks its query block keeps.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks, of one size or ragged; batch and head axes of size 1 are shared.
        scale: Factor on every q·k; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        Output [batch, heads, queries, head_dim] in the dtype of q, and LSE fp32 [batch, heads, queries] (fp64 for
        fp64 inputs). A query that keeps no block has output 0 and LSE −inf.

    Raises:
        ShapeError: Tensors and mask do not fit together.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
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
    scale = head_dim**-0.5 if scale is None else scale
    chosen = choose("block_sparse_attention", IMPLEMENTATIONS, backend, q, k, v, mask, scale)
    return chosen.run(q, k, v, mask, scale)


def runner(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, *, backend: str | None = None
) -> str:
    """Name of the implementation that `block_sparse_attention` takes for these arguments."""
    scale = q.shape[-1] ** -0.5
    return choose("block_sparse_attention", IMPLEMENTATIONS, backend, q, k, v, mask, scale).name
