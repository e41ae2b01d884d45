"""Token reordering on CPU: one gather of whole rows, heads that keep their order included."""

import torch
from torch import Tensor


def refuse(x: Tensor, _order: Tensor, _heads: Tensor | None) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    return None if x.device.type == "cpu" else f"it needs CPU tensors, got {x.device}"


def reorder_tokens(x: Tensor, order: Tensor, heads: Tensor | None) -> Tensor:
    """Gather rows of head_dim values: selecting along the first axis of a matrix copies whole rows, in parallel.

    Heads that are not chosen gather themselves, which is a copy and spares a second pass over x.
    """
    batch, count, tokens, head_dim = x.shape
    if heads is not None:
        order = torch.where(heads.unsqueeze(-1), order, torch.arange(tokens))
    if x.transpose(1, 2).is_contiguous():  # the layout in which projections leave q, k and v
        rows, token_step, head_step = x.transpose(1, 2).reshape(-1, head_dim), count, 1
    else:
        rows, token_step, head_step = x.reshape(-1, head_dim), 1, tokens
    lane = torch.arange(batch).view(-1, 1, 1) * (count * tokens) + torch.arange(count).view(-1, 1) * head_step
    return rows.index_select(0, (order * token_step + lane).flatten()).view(x.shape)
