"""What the ops around clusters have to give: loops in fp64 and in whole numbers, and judges that compare with them."""

import math

import torch
from torch import Tensor

from videosieve.kernels.block_moments import Moments
from videosieve.kernels.block_moments import reference as moments_reference
from videosieve.testing.tolerances import assert_within, require


def moments_oracle(
    x: Tensor, offsets: Tensor, y: Tensor | None = None, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Variances and covariances, one block at a time.

    Args:
        x: [batch, heads, tokens, x axes].
        offsets: int64 [batch|1, heads|1, blocks + 1].
        y: [batch, heads, tokens, y axes], or None.
        order: int64 [batch, heads, tokens], or None.

    Returns:
        fp64 [batch, heads, blocks, x axes] and [batch, heads, blocks, y axes, x axes].
    """
    batch, heads, tokens, axes = x.shape
    offsets = offsets.expand(batch, heads, -1)
    others = x.new_empty(batch, heads, tokens, 0) if y is None else y
    variances = torch.zeros(batch, heads, offsets.shape[-1] - 1, axes, dtype=torch.float64)
    covariances = torch.zeros(*variances.shape[:3], others.shape[-1], axes, dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            places = torch.arange(tokens) if order is None else order[b, h]
            for block, (start, stop) in enumerate(offsets[b, h].unfold(0, 2, 1).tolist()):
                if start < stop:
                    part, other = (z[b, h, places[start:stop]].double() for z in (x, others))
                    part, other = part - part.mean(0), other - other.mean(0)
                    variances[b, h, block] = part.square().mean(0)
                    covariances[b, h, block] = other.mT @ part / (stop - start)
    return variances, covariances


def judge_block_moments(
    result: Moments,
    backend: str,
    x: Tensor,
    offsets: Tensor,
    y: Tensor | None = None,
    order: Tensor | None = None,
) -> None:
    """Variances and covariances of all blocks against loops in fp64."""
    del backend
    x, offsets, variances, covariances = (z.cpu() for z in (x, offsets, *result))
    y = None if y is None else y.cpu()
    wide = torch.promote_types(x.dtype, torch.float32)
    require(variances.dtype == covariances.dtype == wide, f"got {variances.dtype} and {covariances.dtype}")
    order = None if order is None else order.cpu().expand(x.shape[:3])
    exact = moments_oracle(x, offsets, y, order)
    rough = moments_reference.block_moments(x.to(wide), offsets, None if y is None else y.to(wide), order)
    # Products of values that are rounded when the mean is taken from them.
    largest = float(x.abs().max())
    assert_within(variances, rough[0], exact[0], "variances", largest**2)
    require(covariances.shape == exact[1].shape, f"got covariances {list(covariances.shape)}")
    if y is not None:
        assert_within(covariances, rough[1], exact[1], "covariances", largest * float(y.abs().max()))


def deal_oracle(worth: Tensor, query_sizes: list[int], key_sizes: list[int], budget: int) -> Tensor:
    """Kept pairs of one head [rows, columns], one pair at a time."""
    rows, columns = worth.shape
    keep = torch.zeros(rows, columns, dtype=torch.bool)
    rest = []
    for row in range(rows):
        value = [
            -math.inf if not key_sizes[c] else 0.0 if math.isnan(w) else w
            for c, w in enumerate(worth[row].tolist())
        ]
        best = value.index(max(value))
        for column, size in enumerate(key_sizes):
            cost = query_sizes[row] * max(size - 1, 0)
            keep[row, column] = column == best or not size
            if column == best:
                budget -= cost
            elif size:
                rest.append((-value[column], row, column, cost))
    for _, row, column, cost in sorted(rest):
        budget -= cost
        if budget < 0:
            break
        keep[row, column] = True
    return keep


def judge_deal_budget(
    result: Tensor, backend: str, worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor
) -> None:
    """Exactly the pairs that one at a time gives."""
    del backend
    result, worth, query_sizes, key_sizes, budget = (
        x.cpu() for x in (result, worth, query_sizes, key_sizes, budget)
    )
    require(
        result.dtype == torch.bool and result.shape == worth.shape, f"got {result.dtype} {list(result.shape)}"
    )
    for b in range(worth.shape[0]):
        for h in range(worth.shape[1]):
            sizes = query_sizes[b, h].tolist(), key_sizes[b, h].tolist()
            exact = deal_oracle(worth[b, h], *sizes, int(budget[b, h]))
            require(torch.equal(result[b, h], exact), f"head {h} of item {b} keeps other pairs")
