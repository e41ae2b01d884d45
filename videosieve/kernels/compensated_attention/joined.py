"""Compensated attention by any kernel of block-sparse attention: its result and the centroids', joined by their LSE."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS as EXACT
from videosieve.kernels.centroids import AnyMask, Centroids, of_queries

ROWS = 1024  # queries whose centroid scores are in memory at a time

KERNELS = {implementation.name: implementation for implementation in EXACT}


def refuse(name: str) -> Callable[..., str | None]:
    """Why a kernel cannot compute the kept blocks of a call: asked of the kernel itself."""

    def ask(
        q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, _centroids: Centroids, _answers: Tensor, scale: float
    ) -> str | None:
        return KERNELS[name].refuse(q, k, v, mask, scale) or KERNELS[name].verify(q, k, v, mask, scale)

    return ask


def run(name: str) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The op by a kernel of block-sparse attention."""

    def compensated_attention(
        q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, answers: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, lse = KERNELS[name].run(q, k, v, mask, scale)
        answer, answer_lse = attend_centroids(q, mask, centroids, answers, scale)
        # A row whose kept keys are all there is stays as it was computed, bit by bit.
        share = torch.sigmoid(answer_lse - lse).nan_to_num(0.0).unsqueeze(-1)
        joined = torch.lerp(output.to(answer.dtype), answer, share)
        joined = torch.where(answer_lse.isneginf().unsqueeze(-1), output.to(answer.dtype), joined)
        return joined.to(q.dtype), lse, torch.logaddexp(lse, answer_lse)

    return compensated_attention


def attend_centroids(
    q: Tensor, mask: AnyMask, centroids: Centroids, answers: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention of every query to the centroids that answer for its row.

    Args:
        q: Queries [batch, heads, queries, head_dim], in the order of the mask.
        mask: The kept blocks.
        centroids: Of its key blocks.
        answers: bool [batch|1, heads|1, rows, columns].
        scale: Factor on every q·k̄.

    Returns:
        Output [batch, heads, queries, head_dim] and LSE [batch, heads, queries], fp32 (fp64 for fp64); 0 and −inf
        where none answers.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    keys, values = centroids.keys.to(wide).mT, centroids.values.to(wide)
    bias = centroids.log_sizes.to(wide).unsqueeze(-2)
    outputs, lses = [], []
    for rows in torch.arange(mask.queries, device=q.device).split(ROWS):
        scores = q[..., rows, :].to(wide) @ keys * scale + bias
        scores = scores.masked_fill(~of_queries(answers, mask, rows), -torch.inf)
        lse = scores.logsumexp(-1)
        weights = (scores - lse.masked_fill(lse.isneginf(), 0.0).unsqueeze(-1)).exp()
        outputs.append(weights @ values)
        lses.append(lse)
    return torch.cat(outputs, 2), torch.cat(lses, 2)
