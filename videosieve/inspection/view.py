"""One head of one call as pictures: attention pooled into cells in two token orders, and single patches."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.inspection.measures import MEASURES, RowMask, attend_rows, measure_rows
from videosieve.inspection.plan import Plan, encode_ratios


@dataclass(frozen=True, slots=True)
class HeadView:
    """What a head looks at.

    Attributes:
        attention: fp32 [2, cells, cells]; mean attention of a cell ÷ uniform attention, frame-major and token-major.
            0 where no row of a cell was sampled.
        computed: fp32 [2, cells, cells]; share of a cell's pairs that were computed, in [0, 1].
        measures: Means over the rows, by name; see `MEASURES`.
        patches: uint8 [queries, frames, rows, columns]; `encode_ratios` of the attention of single queries.
        outside: fp32 [queries]; their mass outside the video.
    """

    attention: Tensor
    computed: Tensor
    measures: dict[str, float]
    patches: Tensor
    outside: Tensor


def view_head(
    call: AttentionCall, batch: int, head: int, plan: Plan, kept: RowMask | None = None
) -> HeadView:
    """Look at one head; memory is rows at once × tokens, never tokens × tokens.

    Args:
        call: The attention call.
        batch: Batch element.
        head: Head.
        plan: Rows, cells and patches for the call's layout.
        kept: The executed mask; None where everything was computed.

    Returns:
        The view, on the CPU.
    """
    device = call.q.device
    attention, computed = (torch.zeros(2, plan.cells, plan.cells, device=device) for _ in range(2))
    measures, seen = [], torch.zeros(2, plan.cells, device=device)
    for rows in plan.parts(plan.rows.to(device)):
        weights = attend_rows(call, batch, head, rows)
        measures.append(measure_rows(weights, rows, call.layout, kept))
        for order in range(2):
            cells = plan.places[order].to(device)[rows] // plan.side
            attention[order].index_add_(0, cells, _pool(weights, plan, order))
            seen[order].index_add_(0, cells, torch.ones_like(rows, dtype=torch.float32))
            if kept:
                computed[order].index_add_(0, cells, _pool(kept(rows).float(), plan, order))
    uniform = seen.clamp_min(1)[..., None] * _key_counts(plan).to(device)
    means = torch.cat(measures, -1).nanmean(-1).tolist()
    patches, outside = _view_patches(call, batch, head, plan)
    return HeadView(
        (attention * call.tokens / uniform).cpu(),
        (computed / uniform).cpu() if kept else torch.ones_like(computed).cpu(),
        dict(zip(MEASURES, means, strict=True)),
        patches,
        outside,
    )


def _pool(rows: Tensor, plan: Plan, order: int) -> Tensor:
    """Sums over the keys of every cell [rows, cells], keys in the order of a picture."""
    moved = rows[:, plan.orders[order].to(rows.device)] if order else rows
    return (
        pad(moved, (0, plan.cells * plan.side - rows.shape[1])).unflatten(-1, (plan.cells, plan.side)).sum(-1)
    )


def _key_counts(plan: Plan) -> Tensor:
    counts = torch.full((plan.cells,), float(plan.side))
    counts[-1] = plan.layout.tokens - plan.side * (plan.cells - 1)
    return counts


def _view_patches(call: AttentionCall, batch: int, head: int, plan: Plan) -> tuple[Tensor, Tensor]:
    codes, outside = [], []
    for rows in plan.parts(plan.patches.tokens(call.layout).to(call.q.device)):
        video = attend_rows(call, batch, head, rows)[:, call.layout.video]
        codes.append(encode_ratios(plan.patches.pool_keys(video) * call.tokens).cpu())
        outside.append((1 - video.sum(-1)).clamp(0, 1).cpu())
    return torch.cat(codes), torch.cat(outside)
