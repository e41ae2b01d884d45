"""Compensated attention by the native CPU kernel: centroids are further keys of the same online softmax."""

import torch
from torch import Tensor

from videosieve.kernels.centroids import AnyMask, Centroids, key_offsets, query_offsets
from videosieve.kernels.native_attention import Answers, Blocks, attend_blocks
from videosieve.kernels.native_library import refuse_library, refuse_rounding, refuse_tensors


def refuse(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, _answers: Tensor, _scale: float
) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k, v, centroids.keys, centroids.values)
    if reason is None and any(x.device.type != "cpu" for x in (mask.keep, centroids.log_sizes)):
        return f"it needs the mask and the centroids on the CPU, got {mask.keep.device}"
    return reason


def refuse_rounded(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, answers: Tensor, scale: float
) -> str | None:
    """Why the native kernel cannot run a call in products of bf16, or None."""
    return refuse(q, k, v, mask, centroids, answers, scale) or refuse_rounding(q)


def compensated_attention(  # noqa: PLR0913 - the op's arguments, orders, and one for tests
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    answers: Tensor,
    scale: float,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
    *,
    instruction_set: str | None = None,
    rounded: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, LSE over kept keys, LSE over both; shapes as in the api. `instruction_set` is for tests.

    `rounded`: fp32 is rounded to bf16 once, inside.
    """
    both = torch.empty(q.shape[:3])
    sizes = centroids.log_sizes.float().contiguous()
    wanted = Answers(centroids.keys, centroids.values, sizes, answers, both)
    blocks = Blocks(mask.keep, query_offsets(mask), key_offsets(mask), query_order, key_order)
    output, lse = attend_blocks(q, k, v, blocks, scale, instruction_set, wanted, rounded=rounded)
    return output, lse, both
