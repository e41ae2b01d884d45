"""Token reordering in plain PyTorch."""

import torch
from torch import Tensor


def reorder_tokens(x: Tensor, order: Tensor, heads: Tensor | None) -> Tensor:
    """Gather along the token axis; heads that are not chosen keep their order."""
    index = order.expand(*x.shape[:-1]).unsqueeze(-1).expand_as(x)
    reordered = x.gather(-2, index)
    return reordered if heads is None else torch.where(heads[..., None, None], reordered, x)
