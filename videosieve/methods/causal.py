"""Causal attention over a block mask: blocks below the diagonal whole, the diagonal token by token, joined by LSE."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.errors import ShapeError
from videosieve.kernels import Centroids, block_sparse_attention, compensated_attention
from videosieve.masks.block_mask import BlockMask


def attend_causal(
    call: AttentionCall, mask: BlockMask, backend: str | None = None, centroids: Centroids | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention in which no query sees a key behind it.

    Args:
        call: The attention call.
        mask: Kept blocks, square; those above the diagonal are left out, those on it are always attended.
        backend: Implementation of `block_sparse_attention` for the blocks below the diagonal.
        centroids: Answer for blocks below the diagonal that are left out; those that every query of a block may see.

    Returns:
        Output [batch, heads, tokens, head_dim] in the dtype of q, LSE fp32 [batch, heads, tokens] over the kept keys,
        and the LSE over kept keys and centroids.

    Raises:
        ShapeError: The blocks are not square.
    """
    side = mask.block.query
    if side != mask.block.key:
        raise ShapeError(f"causal attention needs square blocks, got {mask.block}")
    below = BlockMask(mask.keep.tril(-1), mask.block, mask.queries, mask.keys)
    tensors, options = (call.q, call.k, call.v, below), {"scale": call.scale, "backend": backend}
    if centroids is None:
        output, lse = block_sparse_attention(*tensors, **options)
        answered_lse = lse
    else:
        output, lse, answered_lse = compensated_attention(*tensors, centroids, **options)
    own_output, own_lse = _attend_diagonal(call, side)
    lse, answered_lse = (x.to(own_lse.dtype) for x in (lse, answered_lse))
    share = torch.sigmoid(own_lse - answered_lse).unsqueeze(-1)
    joined = torch.lerp(output.to(own_output.dtype), own_output, share)
    return joined.to(call.q.dtype), torch.logaddexp(lse, own_lse), torch.logaddexp(answered_lse, own_lse)


def _attend_diagonal(call: AttentionCall, side: int) -> tuple[Tensor, Tensor]:
    """Every token over its own block up to itself, a head at a time. Memory: tokens × side scores."""
    wide = torch.promote_types(call.q.dtype, torch.float32)
    ahead = torch.ones(side, side, dtype=torch.bool, device=call.q.device).triu(1)
    outputs, lses = [], []
    for head in range(call.heads):
        q, k, v = (
            pad(x[:, head].to(wide), (0, 0, 0, -call.tokens % side)).unflatten(1, (-1, side))
            for x in (call.q, call.k, call.v)
        )
        scores = (q @ k.mT * call.scale).masked_fill(ahead, -torch.inf)
        outputs.append((scores.softmax(-1) @ v).flatten(1, 2)[:, : call.tokens])
        lses.append(scores.logsumexp(-1).flatten(1, 2)[:, : call.tokens])
    return torch.stack(outputs, 1), torch.stack(lses, 1)
