"""SVG-EAR: clusters as in SVG2; exact where their centroids would err most, centroids everywhere else.

Zhou et al., "SVG-EAR: Parameter-Free Linear Compensation for Sparse Video Generation via Error-aware Routing",
arXiv:2603.08982. Queries and keys are clustered as in SVG2, whose top-p sets how many pairs a query cluster may
compute. With that budget are computed not the heaviest key clusters but those with the highest error-to-size ratio: the
error that mean key and mean value would make, probed with the mean query (Eq. 8). What is left out answers with its
centroids under the same softmax (Eq. 1 and 7).

Deviations: a row that the budget leaves without a key keeps one cluster; k-means as here in `svg2`.
docs/methods/svg_ear.md.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.fields import Count, In, Seed
from videosieve.kernels.kmeans import Clusters
from videosieve.methods.base import Method, Selection
from videosieve.methods.parameters import Rounds, share
from videosieve.methods.semantic_permutation import SemanticPermutation, SvgTwoState, ragged_selection

SCORES_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Scores (query clusters × keys) of one head per pass, 4 bytes each; about four copies live at a time."""

LARGEST_EXPONENT = 40.0
"""Scores are measured from the row's largest centroid score; one that lies further above it counts as this far."""


@dataclass(frozen=True, slots=True)
class SvgEar(Method):
    """Clusters that are computed where compensation fails, and compensated elsewhere.

    Attributes:
        threshold: Share of the estimated mass whose key clusters, by SVG2's rule, make the budget of a query cluster,
            in (0, 1]. The authors' top-p.
        min_share: Share of the key clusters that the budget holds at least, in [0, 1]; SVG2's min_kc_ratio.
        density: Share of the video's keys as the budget, in (0, 1], in place of `threshold`.
        query_clusters: Clusters of the queries, at least 1; None as in `svg2`. The paper's Q_C.
        key_clusters: Clusters of the keys, likewise. The paper's K_C.
        first_iterations: Of k-means at the first sparse step, from 1 to 1,000.
        step_iterations: Of k-means at every later step, from 1 to 1,000.
        seed: Source of the starting points.
    """

    name: ClassVar[str] = "svg_ear"

    threshold: Annotated[float, share("the share of estimated mass that makes the budget")] = 0.85
    min_share: Annotated[float, In("[0, 1]", "is a share of the key clusters and must lie in [0, 1]")] = 0.1
    density: Annotated[float, share("the share of the video's keys that a query cluster keeps")] | None = None
    query_clusters: Count | None = None
    key_clusters: Count | None = None
    first_iterations: Rounds = 12
    step_iterations: Rounds = 2
    seed: Seed = 0

    def select(self, call: AttentionCall, state: SvgTwoState | None) -> tuple[Selection, SvgTwoState]:
        """Cluster, set the budget, probe the errors, route: exact by error over size, centroids for the rest."""
        svg2 = SemanticPermutation(
            *(self.threshold, self.min_share, self.density, self.query_clusters, self.key_clusters),
            *(self.first_iterations, self.step_iterations, self.seed),
        )
        queries, keys = svg2.cluster(call, state)
        budget = (svg2.choose(call, queries, keys) * keys.sizes.unsqueeze(-2)).sum(-1)
        keep = route(compensation_error(call, queries, keys), keys.sizes, budget)
        selection = ragged_selection(call.layout, queries, keys, keep)
        return replace(selection, compensate=True), SvgTwoState(queries.centroids, keys.centroids)


def route(error: Tensor, sizes: Tensor, budget: Tensor) -> Tensor:
    """The key clusters of highest error-to-size ratio that fit the budget of a row; greedily, the first in any case.

    Args:
        error: Summed squared error of every pair of clusters, ÷ what all pairs of a row have in common
            [batch, heads, rows, columns].
        sizes: Keys of every cluster [batch, heads, columns].
        budget: Keys that a row may compute [batch, heads, rows].

    Returns:
        bool [batch, heads, rows, columns]; clusters without keys are not kept.
    """
    sizes = sizes.unsqueeze(-2).long().expand(error.shape)
    ratio = (error / sizes.clamp(min=1)).nan_to_num(0.0, posinf=torch.inf).masked_fill(sizes == 0, -1.0)
    order = torch.sort(ratio, dim=-1, descending=True, stable=True).indices
    fits = sizes.gather(-1, order).cumsum(-1) <= budget.unsqueeze(-1)
    fits[..., 0] = True
    return torch.zeros_like(fits).scatter(-1, order, fits) & (sizes > 0)


def compensation_error(call: AttentionCall, queries: Clusters, keys: Clusters) -> Tensor:
    """Eq. 8 summed over the keys of every cluster, the mean query in place of its cluster's queries.

    ‖a v̄ − e_j v_j‖² = a² ‖v̄‖² − 2 a e_j v̄·v_j + e_j² ‖v_j‖² with a = exp(q̄·k̄) and e_j = exp(q̄·k_j), so two sums over
    the keys of a cluster are enough, a stretch of the keys at a time.

    Args:
        call: The attention call.
        queries: Clusters of the video's queries.
        keys: Clusters of the video's keys.

    Returns:
        fp32 [batch, heads, query clusters, key clusters], every row measured from its largest centroid score (a row's
        order does not depend on it); 0 for clusters without keys.
    """
    k, v = (x[:, :, call.layout.video] for x in (call.k, call.v))
    errors = torch.zeros(*queries.sizes.shape, keys.sizes.shape[-1], device=k.device)
    for b in range(call.batch):
        for h in range(call.heads):
            mean_q, mean_k = queries.centroids[b, h].float(), keys.centroids[b, h].float()
            labels, sizes = keys.labels[b, h].long(), keys.sizes[b, h].float()
            probe = _Probe(mean_q, mean_k, sizes, call.scale)
            errors[b, h] = probe.errors(k[b, h], v[b, h], labels)
    return errors


@dataclass(frozen=True, slots=True)
class _Probe:
    """One head: centroids [clusters, head_dim], keys per cluster [key clusters]."""

    queries: Tensor
    keys: Tensor
    sizes: Tensor
    scale: float

    def errors(self, k: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        """[query clusters, key clusters] from keys and values [tokens, head_dim]."""
        scores = self.queries @ self.keys.T * self.scale
        largest = scores.masked_fill(self.sizes == 0, -torch.inf).amax(-1, keepdim=True)
        sums = torch.zeros(len(self.keys), v.shape[-1], device=v.device).index_add_(0, labels, v.float())
        means = sums / self.sizes.clamp(min=1).unsqueeze(-1)
        cross, square = torch.zeros(2, *scores.T.shape, device=v.device)
        at_once = max(SCORES_AT_ONCE.get(k.device.type, 2**20) // len(self.queries), 1)
        for keys, values, own in zip(k.split(at_once), v.split(at_once), labels.split(at_once), strict=True):
            weight = _exp(keys.float() @ self.queries.T * self.scale - largest.T)  # [keys, query clusters]
            values = values.float()
            cross.index_add_(0, own, weight * (means[own] * values).sum(-1, keepdim=True))
            square.index_add_(0, own, weight.square() * values.square().sum(-1, keepdim=True))
        mean = _exp(scores - largest)
        own = mean.square() * (means.square().sum(-1) * self.sizes)
        error = own - 2 * mean * cross.T + square.T
        return error.clamp(min=0).masked_fill(self.sizes == 0, 0.0)


def _exp(x: Tensor) -> Tensor:
    return x.clamp(max=LARGEST_EXPONENT).exp()
