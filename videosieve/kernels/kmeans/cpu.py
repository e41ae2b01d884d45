"""One iteration of k-means on CPU: distances of a few hundred tokens at a time, small enough to stay in cache."""

import torch
from torch import Tensor

# Distances that are worked on together; the product writes them and the search for the least reads them.
DISTANCE_BYTES = 1 << 20


def refuse(x: Tensor, _centroids: Tensor) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    if x.device.type != "cpu":
        return f"it needs CPU tensors, got {x.device}"
    if torch.is_grad_enabled() and x.requires_grad:
        return "it has no backward; detach x or use torch.no_grad()"
    return None


def assign_and_update(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One head at a time; shapes as in the api."""
    batch, heads, tokens, _ = x.shape
    clusters = centroids.shape[2]
    labels = torch.empty(batch, heads, tokens, dtype=torch.int32)
    sizes = torch.empty(batch, heads, clusters, dtype=torch.int32)
    means = centroids.clone()
    width = max(DISTANCE_BYTES // (clusters * centroids.element_size()), 1)
    distances = centroids.new_empty(min(width, tokens), clusters)
    nearest = torch.empty(tokens, dtype=torch.int64)
    for b in range(batch):
        for h in range(heads):
            rows, centres = x[b, h].to(centroids.dtype), centroids[b, h]
            lengths = centres.square().sum(-1)
            for start in range(0, tokens, width):
                part = rows[start : start + width]
                torch.addmm(lengths, part, centres.T, alpha=-2, out=distances[: len(part)])
                torch.argmin(distances[: len(part)], 1, out=nearest[start : start + width])
            labels[b, h] = nearest
            sizes[b, h] = count = torch.bincount(nearest, minlength=clusters)
            sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
            filled = count > 0
            means[b, h, filled] = sums[filled] / count[filled].unsqueeze(-1)
    return labels, means, sizes
