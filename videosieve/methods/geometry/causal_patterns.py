"""The shapes of MInference where no query sees a later key: A-shape, vertical-slash, block-sparse.

Algorithms 2 and 3 of arXiv:2407.02490, with what its code forces: 30 first columns and the 100 nearest slashes.
Slashes and the A-shape are rounded up to blocks.
"""

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.masks.block_mask import BlockMask

SHAPES = ("a_shape", "vertical_slash", "block_sparse")
FORCED_COLUMNS, FORCED_SLASHES = 30, 100
"""First keys and nearest distances that the authors' code always keeps."""


def a_shape(mask: BlockMask, first: int, last: int) -> Tensor:
    """Blocks that hold one of the first keys, or a pair at most `last` − 1 apart.

    Args:
        mask: Sizes of the call; causal.
        first: Keys from the start.
        last: Keys up to a query's own.

    Returns:
        bool [rows, columns].
    """
    nearest, _ = _distances(mask)
    starts = torch.arange(mask.keep.shape[-1], device=mask.keep.device) * mask.block.key
    return (starts < first) | (nearest < last)


def _distances(mask: BlockMask) -> tuple[Tensor, Tensor]:
    """Least and largest distance from a query back to a key of every block; int64 [rows, columns], may be negative."""
    rows, columns = (torch.arange(count, device=mask.keep.device) for count in mask.keep.shape[-2:])
    first_query = rows * mask.block.query + (mask.keys - mask.queries)
    last_query = first_query + mask.query_sizes - 1
    first_key = columns * mask.block.key
    last_key = first_key + mask.key_sizes - 1
    return first_query.unsqueeze(-1) - last_key, last_query.unsqueeze(-1) - first_key


def slashes_of(mass: Tensor, mask: BlockMask, counts: Tensor) -> Tensor:
    """Blocks that the heaviest diagonals cross.

    Args:
        mass: Softmax of the last queries [batch, heads, rows, keys].
        mask: Sizes of the call; causal.
        counts: int64 [heads]; distances to keep, the nearest FORCED_SLASHES first.

    Returns:
        bool [batch, heads, rows, columns].
    """
    rows, keys = mass.shape[-2:]
    own = torch.arange(keys - rows, keys, device=mass.device).unsqueeze(-1)
    distance = (own - torch.arange(keys, device=mass.device)).clamp(min=0).expand(*mass.shape[:2], -1, -1)
    total = torch.zeros(*mass.shape[:2], keys, device=mass.device)
    total.scatter_add_(-1, distance.flatten(2), mass.nan_to_num(0.0).flatten(2))  # what is ahead has no mass
    total[..., :FORCED_SLASHES] = torch.inf
    taken = _heaviest(total, counts.clamp(min=FORCED_SLASHES))
    upto = torch.nn.functional.pad(taken.to(torch.int32).cumsum(-1), (1, 0))
    nearest, farthest = (x.clamp(0, keys) for x in _distances(mask))
    low = upto[..., nearest.flatten()]
    high = upto[..., (farthest + 1).clamp(max=keys).flatten()]
    return (high > low).unflatten(-1, nearest.shape)


def columns_of(mass: Tensor, counts: Tensor) -> Tensor:
    """The heaviest keys.

    Args:
        mass: Softmax of the last queries [batch, heads, rows, keys].
        counts: int64 [heads]; keys to keep, the FORCED_COLUMNS first ones among them.

    Returns:
        int64 [batch, heads, most], ascending; where a head keeps fewer, the number of keys fills the rest.
    """
    keys = mass.shape[-1]
    total = mass.nan_to_num(0.0).sum(-2)
    total[..., :FORCED_COLUMNS] = torch.inf
    counts = counts.clamp(min=FORCED_COLUMNS, max=keys)
    taken = _heaviest(total, counts)
    places = torch.arange(keys, device=mass.device)
    most = int(counts.max())
    return torch.where(taken, places, keys).sort(-1).values[..., :most]


def _heaviest(total: Tensor, counts: Tensor) -> Tensor:
    """bool like `total` [batch, heads, places]: the largest of every head, as many as it counts."""
    order = torch.sort(total, dim=-1, descending=True, stable=True).indices
    rank = torch.arange(total.shape[-1], device=total.device)
    return torch.zeros_like(total, dtype=torch.bool).scatter(
        -1, order, (rank < counts.unsqueeze(-1)).expand_as(total)
    )


def pooled_top_k(call: AttentionCall, mask: BlockMask, head: int, count: int) -> Tensor:
    """The blocks of every row whose mean key scores highest with the mean query, those on the diagonal first.

    Args:
        call: The attention call.
        mask: Its sizes; causal.
        head: Which query head.
        count: Blocks of a row.

    Returns:
        bool [batch, rows, columns].
    """
    group = call.heads // call.k.shape[1]
    parts = ((call.q[:, head], mask.block.query), (call.k[:, head // group], mask.block.key))
    q, k = (torch.stack([part.float().mean(1) for part in x.split(side, 1)], 1) for x, side in parts)
    scores = (q @ k.mT * call.scale).nan_to_num(0.0)
    scores = scores.masked_fill(mask.pairs == 0, -torch.inf).masked_fill(mask.diagonal, torch.inf)
    kept = torch.zeros_like(scores, dtype=torch.bool)
    best = scores.topk(min(count, scores.shape[-1]), -1).indices
    return kept.scatter(-1, best, True)
