"""Recall of a sparse call without a second pass: exp(lse_kept − lse_all) over a few query rows."""

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.methods import Selection


def recall_of(call: AttentionCall, selection: Selection, result: AttentionResult, rows: int) -> Tensor | None:
    """The share of true softmax mass that a selection has computed.

    Args:
        call: The attention call.
        selection: What was computed; its own estimate is taken where its method has one.
        result: Of the computed part, with its LSE.
        rows: Query rows from which it is measured, evenly spread; 0 measures nothing.

    Returns:
        fp32 [batch, heads], in [0, 1]; None where it is neither known nor measured.
    """
    if selection.recall is not None or not rows:
        return selection.recall
    picked = torch.linspace(0, call.tokens - 1, rows, device=call.q.device).long()
    scores = call.q[:, :, picked].float() @ call.k.float().mT * call.scale
    if selection.causal:
        keys = torch.arange(call.tokens, device=picked.device)
        scores.masked_fill_(keys > picked.unsqueeze(-1), -torch.inf)
    return (result.lse[..., picked] - scores.logsumexp(-1)).exp().mean(-1)
