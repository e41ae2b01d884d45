"""Dealing a budget in plain PyTorch: the meaning of the op."""

import torch
from torch import Tensor


def deal_budget(worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor) -> Tensor:
    """Kept pairs of clusters; shapes as in the api."""
    empty = (key_sizes == 0).unsqueeze(-2)
    cost = query_sizes.unsqueeze(-1) * (key_sizes - 1).clamp(min=0).unsqueeze(-2)
    worth = worth.nan_to_num(0.0, posinf=torch.inf, neginf=-torch.inf).masked_fill(empty, -torch.inf)
    best = torch.zeros_like(empty.expand(worth.shape)).scatter(-1, worth.argmax(-1, keepdim=True), True)
    left = budget - (cost * best).sum((-1, -2))
    others = cost.masked_fill(best, 0).flatten(2)
    order = torch.sort(worth.flatten(2), dim=-1, descending=True, stable=True).indices
    fits = others.gather(-1, order).cumsum(-1) <= left.unsqueeze(-1)
    return torch.zeros_like(fits).scatter(-1, order, fits).view(worth.shape) | best | empty
