"""A budget of query–key pairs, dealt over all rows of a head: pairs of clusters of most worth for their cost first."""

import torch
from torch import Tensor


def deal(worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor) -> Tensor:
    """Pairs of clusters in order of worth while the budget of their head lasts; the best of every row in any case.

    A pair of clusters of m queries and n keys costs m · (n − 1) pairs: computed it takes m · n, left out its centroid
    takes m. So the budget is what is there beyond a centroid for every cluster.

    Args:
        worth: What computing a pair is worth for each of its query–key pairs [batch, heads, rows, columns]; what is NaN
            is worth nothing.
        query_sizes: Tokens of every row [batch, heads, rows].
        key_sizes: Tokens of every column [batch, heads, columns].
        budget: int64 [batch, heads, 1]; query–key pairs of a head beyond those of centroids.

    Returns:
        bool [batch, heads, rows, columns]; columns without tokens are kept, which computes nothing.
    """
    empty = (key_sizes == 0).unsqueeze(-2)
    cost = query_sizes.long().unsqueeze(-1) * (key_sizes.long() - 1).clamp(min=0).unsqueeze(-2)
    worth = worth.nan_to_num(0.0, posinf=torch.inf).masked_fill(empty, -1.0)
    first = torch.zeros_like(empty.expand(worth.shape)).scatter(-1, worth.argmax(-1, keepdim=True), True)
    order = torch.sort(
        worth.masked_fill(first, torch.inf).flatten(2), dim=-1, descending=True, stable=True
    ).indices
    fits = cost.flatten(2).gather(-1, order).cumsum(-1) <= budget
    return torch.zeros_like(fits).scatter(-1, order, fits).view(worth.shape) | first | empty
