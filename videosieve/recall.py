"""How much true softmax mass a call computed: the LSE of a few rows over all keys beside that of the kernel."""

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.methods import Selection


def shares_of(
    call: AttentionCall, selection: Selection, result: AttentionResult, rows: int
) -> tuple[Tensor | None, Tensor | None]:
    """Recall, and the mass for which centroids or tangents answered, from evenly spaced query rows.

    Args:
        call: The attention call.
        selection: What was computed; a recall that its method knows is taken over.
        result: What came of it.
        rows: Rows to look at; 0 measures nothing.

    Returns:
        Two tensors fp32 [batch|1, heads], shares of all true mass that add up to at most 1; the first None where it is
        unknown, the second where nothing answered.
    """
    answered = result.answered_lse
    if not rows or (selection.recall is not None and answered is None):
        return selection.recall, None
    places = torch.linspace(0, call.tokens - 1, rows, device=call.q.device).long()
    groups = call.k.shape[1]
    # Heads that share keys lie one below another, so that no keys are copied for them.
    shared = (call.q[:, :, places].float() * call.scale).unflatten(1, (groups, -1)).flatten(2, 3)
    scores = (shared @ call.k.float().mT).view(*call.q.shape[:2], rows, call.keys)
    if selection.causal:
        keys = torch.arange(call.keys, device=places.device)
        scores.masked_fill_(keys > places.unsqueeze(-1) + call.ahead, -torch.inf)
    everything = scores.logsumexp(-1)
    share = (result.lse[..., places] - everything).exp()
    recall = share.mean(-1) if selection.recall is None else selection.recall
    if answered is None:
        return recall, None
    return recall, ((answered[..., places] - everything).exp() - share).mean(-1)
