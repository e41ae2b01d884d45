"""What answers for key blocks that are left out: one mean key, one mean value and a count per block."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videosieve.kernels.pool_blocks import Pooled, pool_blocks
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask, blocks_of

AnyMask = BlockMask | RaggedBlockMask


@dataclass(frozen=True, slots=True)
class Centroids:
    """The key blocks of a mask, each as one key that counts as many tokens as the block has.

    Attributes:
        keys: Mean keys [batch, heads, columns, head_dim] in the dtype of k.
        values: Mean values, likewise.
        log_sizes: fp32 [batch|1, heads|1, columns]; ln of the tokens of every block, −inf for an empty one.
        allowed: bool [batch|1, heads|1, rows, columns]; blocks for which a centroid may answer where they are left
            out. None: all of them.
    """

    keys: Tensor
    values: Tensor
    log_sizes: Tensor
    allowed: Tensor | None = None

    def answers(self, mask: AnyMask) -> Tensor:
        """bool [batch|1, heads|1, rows, columns]; the blocks of a mask for which a centroid answers."""
        left_out = ~mask.keep
        return left_out if self.allowed is None else left_out & self.allowed

    def below_the_diagonal(self, rows: int) -> "Centroids":
        """Only for blocks wholly before the query block: what causal attention may see."""
        columns = self.keys.shape[2]
        past = torch.ones(1, 1, rows, columns, dtype=torch.bool, device=self.keys.device).tril(-1)
        return replace(self, allowed=past if self.allowed is None else self.allowed & past)


def query_offsets(mask: AnyMask) -> Tensor:
    """First place of every query block and the end, int64 [batch|1, heads|1, rows + 1], contiguous."""
    if isinstance(mask, RaggedBlockMask):
        return mask.query_offsets.contiguous()
    return _even_offsets(mask.keep.shape[2], mask.block.query, mask.queries, mask.keep.device)


def key_offsets(mask: AnyMask) -> Tensor:
    """First place of every key block and the end, int64 [batch|1, heads|1, columns + 1], contiguous."""
    if isinstance(mask, RaggedBlockMask):
        return mask.key_offsets.contiguous()
    return _even_offsets(mask.keep.shape[3], mask.block.key, mask.keys, mask.keep.device)


def _even_offsets(blocks: int, side: int, tokens: int, device: torch.device) -> Tensor:
    return (torch.arange(blocks + 1, device=device) * side).clamp(max=tokens)[None, None]


def centroids_of(
    k: Tensor, v: Tensor, mask: AnyMask, key_order: Tensor | None = None, keys: Pooled | None = None
) -> Centroids:
    """Pool keys and values over the key blocks of a mask.

    Args:
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        mask: The kept blocks.
        key_order: Where the mask is in another order than k: int64 [keys] or [batch|1, heads|1, keys].
        keys: The keys already pooled over these blocks, where they are at hand.

    Returns:
        The centroids; means are over the tokens that are there, in the order in which the mask is executed.
    """
    offsets = key_offsets(mask)
    pooled = keys or pool_blocks(k, offsets, order=key_order)
    values = pool_blocks(v, offsets, order=key_order)
    return Centroids(pooled.means, values.means, offsets.diff().float().log())


def of_queries(blocks: Tensor, mask: AnyMask, tokens: Tensor) -> Tensor:
    """Rows of a block table for single queries.

    Args:
        blocks: [batch|1, heads|1, rows, columns].
        mask: Whose rows they are.
        tokens: int64 [queries]; places in the order of the mask.

    Returns:
        [batch|1, heads|1, queries, columns].
    """
    if isinstance(mask, BlockMask):
        return blocks[..., tokens // mask.block.query, :]
    row = blocks_of(tokens, mask.query_offsets)
    lead = torch.broadcast_shapes(blocks.shape[:2], row.shape[:2])
    index = row.expand(*lead, -1).unsqueeze(-1).expand(-1, -1, -1, blocks.shape[3])
    return blocks.expand(*lead, -1, -1).gather(2, index)


def answered_density(mask: AnyMask, answers: Tensor) -> Tensor:
    """Query–centroid pairs ÷ all query–key pairs, float64 [batch|1, heads|1]; a centroid counts as one key."""
    columns = (answers & (mask.key_sizes > 0).unsqueeze(-2)).sum(-1)
    return (columns * mask.query_sizes).sum(-1).double() / (mask.queries * mask.keys)
