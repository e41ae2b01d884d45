"""What a row of attention is summed up in: how much of its mass lies where."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.layout import VideoLayout

MEASURES = ("recall", "text", "first_frame", "own_frame", "own_place", "spread")
"""recall: inside the executed mask. text: on tokens outside the video. first_frame, own_frame: on that frame.
own_place: on the same place in all frames. spread: exp(entropy) ÷ tokens, the share of tokens that it would take to
spread as wide evenly. All but recall are means over queries of the video."""

RowMask = Callable[[Tensor], Tensor]


def attend_rows(call: AttentionCall, batch: int, head: int, rows: Tensor) -> Tensor:
    """Full softmax attention of a few queries: fp32 [rows, tokens]."""
    q, k = call.q[batch, head, rows].float(), call.k[batch, head].float()
    return (q @ k.mT * call.scale).softmax(-1)


def measure_rows(weights: Tensor, rows: Tensor, layout: VideoLayout, kept: RowMask | None) -> Tensor:
    """Measures of single rows.

    Args:
        weights: Softmax attention [rows, tokens].
        rows: Their positions, int64.
        layout: Which token is which.
        kept: The executed mask; None where everything was computed.

    Returns:
        fp32 [measures, rows] in [0, 1]; NaN at rows outside the video for all measures but recall.
    """
    grid, start = layout.grid, layout.video.start
    video = weights[:, layout.video].unflatten(-1, (grid.frames, grid.tokens_per_frame))
    inside = (rows >= start) & (rows < start + grid.tokens)
    place = torch.where(inside, rows - start, 0)
    each = torch.arange(len(rows), device=rows.device)
    recall = (weights * kept(rows)).sum(-1) if kept else torch.ones_like(each, dtype=weights.dtype)
    entropy = -torch.special.xlogy(weights, weights).sum(-1)
    of_video = torch.stack([
        1 - video.sum((1, 2)),
        video[:, 0].sum(-1),
        video[each, place // grid.tokens_per_frame].sum(-1),
        video[each, :, place % grid.tokens_per_frame].sum(-1),
        entropy.exp() / layout.tokens,
    ])  # fmt: skip
    return torch.cat([recall[None], of_video.masked_fill(~inside, torch.nan)]).clamp(0, 1)


def measure_heads(
    call: AttentionCall, batch: int, rows: Tensor, kept: "list[RowMask] | None" = None
) -> Tensor:
    """Measures of every head, from a few rows.

    Args:
        call: The attention call.
        batch: Batch element.
        rows: int64 [rows]; query positions of the video.
        kept: The executed mask of every head; None where everything was computed.

    Returns:
        fp32 [measures, heads] on the CPU.
    """
    heads = []
    for head in range(call.heads):
        weights = attend_rows(call, batch, head, rows)
        mask = None if kept is None else kept[head]
        heads.append(measure_rows(weights, rows, call.layout, mask).nanmean(-1))
    return torch.stack(heads, -1).cpu()


def uniform_measures(layout: VideoLayout, density: float) -> dict[str, float]:
    """What the measures would be if attention were uniform."""
    grid, tokens = layout.grid, layout.tokens
    frame = grid.tokens_per_frame / tokens
    return dict(
        zip(
            MEASURES,
            (density, layout.other_tokens / tokens, frame, frame, grid.frames / tokens, 1.0),
            strict=True,
        )
    )
