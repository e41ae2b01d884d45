"""Attention of sampled rows: documentation, checks, dispatch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.errors import ShapeError
from videosieve.kernels.arguments import BOOL, check_attention, check_shared, check_tensor
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.sampled_attention import cpu, launch, native, reference
from videosieve.kernels.triton_support import lazily

_HERE = "videosieve.kernels.sampled_attention"

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily(f"{_HERE}.triton", "sampled_attention")),
    Implementation("native", native.refuse, native.sampled_attention),
    Implementation("cpu", cpu.refuse, cpu.sampled_attention),
    Implementation("reference", anything, reference.sampled_attention),
)


class SampledAttention(NamedTuple):
    """Attention of the sampled rows, full and under each mask.

    Attributes:
        output: Full attention [batch, heads, rows, head_dim], fp32.
        lse: Its LSE [batch, heads, rows], fp32.
        masked_output: [masks, batch, heads, rows, head_dim], fp32.
        masked_lse: [masks, batch, heads, rows], fp32. `exp(masked_lse − lse)` is the recall of a row.
    """

    output: Tensor
    lse: Tensor
    masked_output: Tensor
    masked_lse: Tensor


def sampled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Sequence[Tensor],
    *,
    scale: float | None = None,
    backend: str | None = None,
) -> SampledAttention:
    """Attend from a few sampled query rows to all keys, in full and under each candidate mask.

    Memory is O(rows × keys); the caller samples the rows.

    Args:
        q: The sampled queries [batch, heads, rows, head_dim].
        k: All keys [batch, heads, keys, head_dim].
        v: All values [batch, heads, keys, head_dim].
        masks: At least one bool [batch|1, heads|1, rows, keys]; True keeps a key. Rows should keep at least one.
        scale: Factor on every q·k, finite; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        Full and masked outputs with their LSE. A row that keeps no key has output 0 and LSE −inf.

    Raises:
        ShapeError: Tensors and masks do not fit together or cannot be read, or there is no mask.
        NumericsError: The scale is no finite number.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_attention(q, k, v)
    rows, keys = q.shape[2], k.shape[2]
    if not isinstance(masks, list | tuple) or not masks:
        raise ShapeError(
            f"masks must be a list of at least one mask, got {type(masks).__name__} {masks!r:.40}"
        )
    for mask in masks:
        check_tensor("every mask", mask, ("batch", "heads", str(rows), str(keys)), BOOL)
        if mask.shape[-2:] != (rows, keys):
            raise ShapeError(
                f"every mask must be bool [batch, heads, {rows}, {keys}], got {list(mask.shape)}"
            )
        check_shared("every mask", mask, q.shape[:2], device=q.device)
    scale = resolve_scale(scale, q.shape[-1])
    if torch.compiler.is_compiling():
        return SampledAttention(*torch.ops.videosieve.sampled_attention(q, k, v, masks, scale, backend))
    chosen = choose("sampled_attention", IMPLEMENTATIONS, backend, q, k, v, masks, scale)
    return SampledAttention(*chosen.run(q, k, v, masks, scale))


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor[] masks, float scale, str? backend) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("videosieve::sampled_attention", mutates_args=(), schema=_SCHEMA)
def _operator(
    q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor], scale: float, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    result = sampled_attention(q, k, v, masks, scale=scale, backend=backend)
    # Implementations may return parts of one tensor; an operator's results must not share memory.
    return result[0].clone(), result[1].clone(), result[2].clone(), result[3].clone()


@_operator.register_fake
def _shapes(
    q: Tensor, _k: Tensor, v: Tensor, masks: Sequence[Tensor], *_arguments: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    rows, shape = q.shape[:3], (*q.shape[:3], v.shape[3])
    results = rows, (len(masks), *shape), (len(masks), *rows)
    output, lse, masked, masked_lse = (q.new_empty(size, dtype=wide) for size in (shape, *results))
    return output, lse, masked, masked_lse
