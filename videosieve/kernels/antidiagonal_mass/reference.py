"""Antidiagonal mass from antidiagonal scores: the meaning of the op, a stretch of the queries at a time."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.kernels.antidiagonal_scores import antidiagonal_scores

SCORES_AT_ONCE = {"cpu": 2**25, "cuda": 2**28}
"""Scores (batch × heads × cells × cells) per pass, 4 bytes each; about three copies live at a time."""

CAUSAL_STRETCHES = 8
"""Of the queries, where keys ahead of a stretch are left out."""


def antidiagonal_mass(q: Tensor, k: Tensor, stride: int, side: int, scale: float, causal: bool) -> Tensor:
    """Scores by whatever runs them fastest, then softmax and sums; shapes as in the api."""
    tokens, keys = q.shape[2], k.shape[2]
    at_once = SCORES_AT_ONCE.get(q.device.type, 2**25) * stride**2
    queries = max(at_once // (q.shape[0] * q.shape[1] * keys) // side, 1) * side
    if causal:  # keys ahead of a stretch are never scored: with eight stretches that is nearly half of all
        queries = min(queries, -(-tokens // (CAUSAL_STRETCHES * side)) * side)
    parts = []
    for start in range(0, tokens, queries):
        part = q[:, :, start : start + queries]
        end = start + part.shape[2] + keys - tokens
        seen = k[:, :, : min(-(-end // side) * side, keys)] if causal else k
        scores = antidiagonal_scores(part, seen, stride, scale=scale)
        _correct_edges(scores, part, seen, stride, scale)
        if causal:
            later = 1 + (start + keys - tokens + stride - 1) // stride
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(later)
            scores.masked_fill_(ahead, -torch.inf)
        weights = scores.softmax(-1)
        if part.shape[2] % stride:
            weights[..., -1, :] *= part.shape[2] % stride / stride
        blocks = sum_blocks(weights, side // stride, side // stride)
        parts.append(pad(blocks, (0, -(-keys // side) - blocks.shape[-1])))
    return torch.cat(parts, -2)


def _correct_edges(scores: Tensor, q: Tensor, k: Tensor, stride: int, scale: float) -> None:
    """Partial last cells: means over the pairs that exist, and weight by the keys that exist."""
    query_rest, key_rest = q.shape[2] % stride, k.shape[2] % stride
    if query_rest:
        scores[..., -1, :] *= stride / query_rest
    if key_rest:
        scores[..., -1] *= stride / key_rest
        if query_rest:  # their antidiagonal may be empty: the mean over all pairs of the cell
            query, key = (
                x[:, :, -rest:].to(scores.dtype).mean(2) for x, rest in ((q, query_rest), (k, key_rest))
            )
            scores[..., -1, -1] = scale * (query * key.repeat_interleave(q.shape[1] // k.shape[1], 1)).sum(-1)
        scores[..., -1] += torch.tensor(key_rest / stride).log().item()


def sum_blocks(values: Tensor, rows: int, columns: int) -> Tensor:
    """Sums over rectangles.

    Args:
        values: [..., queries, keys].
        rows: Height of a rectangle, at least 1.
        columns: Width of a rectangle, at least 1.

    Returns:
        [..., ceil(queries / rows), ceil(keys / columns)]; last rectangles may be partial.
    """
    height, width = values.shape[-2:]
    values = pad(values, (0, -width % columns, 0, -height % rows))
    # Columns first: they are contiguous, and the second sum is then small.
    return values.unflatten(-1, (-1, columns)).sum(-1).unflatten(-2, (-1, rows)).sum(-2)
