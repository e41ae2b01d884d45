"""Block-sparse attention by the native CPU kernel; blocks of any size are one path."""

import torch
from torch import Tensor

from videosieve.kernels.native_attention import Blocks, attend_blocks
from videosieve.kernels.native_library import refuse_library, refuse_rounding, refuse_tensors
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask


def refuse(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, _scale: float) -> str | None:
    """Why the native kernel cannot run a call, or None."""
    reason = refuse_library() or refuse_tensors(q, k, v)
    if reason is None and mask.keep.device.type != "cpu":
        return f"it needs the mask on the CPU, got {mask.keep.device}"
    return reason


def refuse_rounded(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, scale: float
) -> str | None:
    """Why the native kernel cannot run a call in products of bf16, or None."""
    return refuse(q, k, v, mask, scale) or refuse_rounding(q)


def block_sparse_attention(  # noqa: PLR0913 - the op's arguments, orders, rounding, and one for tests
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    scale: float,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
    *,
    instruction_set: str | None = None,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys; shapes as in the api. `instruction_set` is for tests and benchmarks.

    `rounded`: fp32 is rounded to bf16 once, inside; sums, softmax and results stay fp32.
    """
    blocks = Blocks(mask.keep, *_offsets(mask), query_order, key_order)
    causal = isinstance(mask, BlockMask) and mask.causal
    return attend_blocks(q, k, v, blocks, scale, instruction_set, causal=causal, rounded=rounded)


def _offsets(mask: BlockMask | RaggedBlockMask) -> tuple[Tensor, Tensor]:
    """First token of every block and the end, int64 [batch|1, heads|1, blocks + 1], last axis contiguous."""
    if isinstance(mask, RaggedBlockMask):
        return mask.query_offsets.contiguous(), mask.key_offsets.contiguous()
    rows, columns = mask.keep.shape[2:]
    query_offsets = torch.arange(rows + 1).mul_(min(mask.block.query, mask.queries)).clamp_(max=mask.queries)
    key_offsets = torch.arange(columns + 1).mul_(min(mask.block.key, mask.keys)).clamp_(max=mask.keys)
    return query_offsets[None, None], key_offsets[None, None]
