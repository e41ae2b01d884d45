"""Causal attention over a block mask, over single columns beside it, and with centroids for what is left out."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.errors import ShapeError
from videosieve.kernels import Centroids, block_sparse_attention, compensated_attention
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask


def causal_mask(mask: BlockMask) -> BlockMask:
    """The same kept blocks, and all on the diagonal, without what is ahead of a query."""
    own = BlockMask(mask.keep, mask.block, mask.queries, mask.keys, causal=True).diagonal
    return BlockMask(mask.keep | own, mask.block, mask.queries, mask.keys, causal=True)


def attend_causal(
    call: AttentionCall, mask: BlockMask, backend: str | None = None, columns: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Attention in which no query sees a key behind it.

    Args:
        call: The attention call.
        mask: Kept blocks, causal, the diagonal among them.
        backend: Implementation of `block_sparse_attention`.
        columns: Single keys beside the blocks, as in `Selection`.

    Returns:
        Output [batch, heads, tokens, head_dim] in the dtype of q, LSE fp32 [batch, heads, tokens] over the kept keys,
        and the density of the columns, float64 [batch, heads]; None without columns.
    """
    output, lse = block_sparse_attention(call.q, call.k, call.v, mask, scale=call.scale, backend=backend)
    if columns is None:
        return output, lse, None
    lanes = torch.arange(call.heads, device=columns.device) // (call.heads // call.k.shape[1])
    batch = torch.arange(call.batch, device=columns.device)[:, None, None]
    places = columns.clamp(
        max=call.keys - 1
    )  # past the end: none, in the last block, which no row has behind it
    k, v = (x[batch, lanes[:, None], places] for x in (call.k, call.v))  # no other token is copied
    # Chosen columns of one block are seen by the same rows, so they are a block of their own size.
    further = _columns_mask(mask, columns)
    more, more_lse = block_sparse_attention(
        call.q, k, v, further, scale=call.scale, backend=_for_columns(backend)
    )
    joined = torch.logaddexp(lse, more_lse.to(lse.dtype))
    weight = (more_lse - joined).exp().unsqueeze(-1)
    output = torch.lerp(output.to(weight.dtype), more.to(weight.dtype), weight).to(call.q.dtype)
    density = further.head_density * (further.queries * further.keys) / mask.pairs.sum()
    return output, joined, density


def _columns_mask(mask: BlockMask, columns: Tensor) -> RaggedBlockMask:
    blocks = mask.keep.shape[-1]
    edges = torch.arange(blocks + 1, device=columns.device) * mask.block.key
    offsets = torch.searchsorted(columns.contiguous(), edges.expand(*columns.shape[:2], -1).contiguous())
    offsets[..., -1] = columns.shape[-1]
    rows = (torch.arange(mask.keep.shape[2] + 1, device=columns.device) * mask.block.query).clamp(
        max=mask.queries
    )
    past = mask.pairs == mask.query_sizes.unsqueeze(-1) * mask.key_sizes
    keep = past & ~mask.keep.expand(*columns.shape[:2], -1, -1)
    return RaggedBlockMask(keep, rows[None, None], offsets, mask.queries, columns.shape[-1])


def _for_columns(backend: str | None) -> str | None:
    """Columns are blocks of any size: a backend that cannot is asked for the blocks alone."""
    return backend if backend in ("native", "native-bf16", "triton", "reference") else None


def attend_compensated(
    call: AttentionCall, mask: BlockMask, backend: str | None, centroids: Centroids
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention in which centroids answer for blocks below the diagonal that are left out.

    Args:
        call: The attention call, square.
        mask: Kept blocks, square; those above the diagonal are left out, those on it are always attended.
        backend: Implementation of `compensated_attention` for the blocks below the diagonal.
        centroids: Answer for blocks that every query of a row may see.

    Returns:
        Output [batch, heads, tokens, head_dim] in the dtype of q, LSE fp32 [batch, heads, tokens] over the kept keys,
        and the LSE over kept keys and centroids.

    Raises:
        ShapeError: The blocks or the call are not square.
    """
    side = mask.block.query
    if side != mask.block.key or not call.is_square:
        raise ShapeError(
            f"centroids in causal attention need square blocks and as many keys and key heads as queries, "
            f"got {mask.block}, q {list(call.q.shape)} and k {list(call.k.shape)}"
        )
    below = BlockMask(mask.keep.tril(-1), mask.block, mask.queries, mask.keys)
    output, lse, answered_lse = compensated_attention(
        call.q, call.k, call.v, below, centroids, scale=call.scale, backend=backend
    )
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
