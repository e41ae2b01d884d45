"""One iteration of k-means in plain PyTorch, a stretch of tokens at a time."""

import torch
from torch import Tensor

STRETCH = 4096


def assign_and_update(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest centroid of every token, then the mean of every cluster's tokens; shapes as in the api."""
    lengths = centroids.square().sum(-1).unsqueeze(-2)
    sums, sizes = torch.zeros_like(centroids), torch.zeros_like(centroids[..., 0])
    labels = []
    for part in x.split(STRETCH, 2):
        part = part.to(centroids.dtype)
        # |x − c|² without |x|², which is the same for every centroid.
        label = (lengths - 2 * part @ centroids.mT).argmin(-1)
        sums = sums.scatter_add(2, label.unsqueeze(-1).expand_as(part), part)
        sizes = sizes.scatter_add(2, label, torch.ones_like(part[..., 0]))
        labels.append(label)
    means = sums / sizes.clamp(min=1).unsqueeze(-1)
    centroids = torch.where(sizes.unsqueeze(-1) > 0, means, centroids)
    return torch.cat(labels, 2).int(), centroids, sizes.int()
