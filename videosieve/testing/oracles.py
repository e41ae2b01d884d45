"""What the kernels must compute, in fp64 and as directly as it can be said: small sizes only."""

import torch
from torch import Tensor

from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask


def attention_oracle(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys with all scores at once, in fp64.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        keep: bool [batch|1, heads|1, queries, keys].
        scale: Factor on every q·k.

    Returns:
        Output [batch, heads, queries, head_dim] and LSE [batch, heads, queries], fp64. A query without keys has
        output 0 and LSE −inf.
    """
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) * scale
    largest = torch.where(keep, scores, -torch.inf).amax(-1, keepdim=True)
    largest = torch.where(largest.isinf(), 0.0, largest)
    weights = torch.where(keep, torch.exp(scores - largest), 0.0)
    total = weights.sum(-1)
    output = torch.einsum("bhqk,bhkd->bhqd", weights, v.double()) / torch.where(
        total == 0, 1.0, total
    ).unsqueeze(-1)
    return output, total.log() + largest.squeeze(-1)


def pairs_oracle(mask: BlockMask | RaggedBlockMask) -> Tensor:
    """Kept query–key pairs: every block blown up to its tokens.

    Args:
        mask: The kept blocks.

    Returns:
        bool [batch|1, heads|1, queries, keys].
    """
    if isinstance(mask, RaggedBlockMask):
        return _ragged_pairs(mask)
    sides = min(mask.block.query, mask.queries), min(mask.block.key, mask.keys)
    tile = torch.ones(sides, dtype=torch.bool)
    pairs = torch.kron(mask.keep.clone(memory_format=torch.contiguous_format), tile[None, None])[
        ..., : mask.queries, : mask.keys
    ]
    return pairs.tril(mask.keys - mask.queries) if mask.causal else pairs


def _ragged_pairs(mask: RaggedBlockMask) -> Tensor:
    shape = torch.broadcast_shapes(*(x.shape[:2] for x in (mask.keep, mask.query_offsets, mask.key_offsets)))
    keep, q, k = (x.expand(*shape, *x.shape[2:]) for x in (mask.keep, mask.query_offsets, mask.key_offsets))
    pairs = torch.zeros(*shape, mask.queries, mask.keys, dtype=torch.bool)
    for b, h, r, c in keep.nonzero().tolist():
        pairs[b, h, q[b, h, r] : q[b, h, r + 1], k[b, h, c] : k[b, h, c + 1]] = True
    return pairs


def reorder_oracle(x: Tensor, order: Tensor, heads: Tensor) -> Tensor:
    """Permuted tokens, one at a time.

    Args:
        x: [batch, heads, tokens, head_dim].
        order: int64 gather index [batch, heads, tokens].
        heads: bool [batch, heads]; heads to permute.

    Returns:
        Shaped like x.
    """
    y = x.clone()
    for b, h in heads.nonzero().tolist():
        for token in range(x.shape[2]):
            y[b, h, token] = x[b, h, order[b, h, token]]
    return y


def mask_on_cpu(mask: BlockMask | RaggedBlockMask) -> BlockMask | RaggedBlockMask:
    """The same kept blocks in host memory."""
    if isinstance(mask, BlockMask):
        return BlockMask(mask.keep.cpu(), mask.block, mask.queries, mask.keys)
    offsets = mask.query_offsets.cpu(), mask.key_offsets.cpu()
    return RaggedBlockMask(mask.keep.cpu(), *offsets, mask.queries, mask.keys)


def ordered(x: Tensor, order: Tensor | None) -> Tensor:
    """Tokens of x [batch, heads, tokens, head_dim] in another order; as they are without one."""
    if order is None:
        return x
    return x.gather(2, order.cpu().expand(x.shape[:3]).unsqueeze(-1).expand_as(x))
