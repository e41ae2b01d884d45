"""What a centroid will get wrong, before anything is computed: the error of every pair of clusters, from their moments.

A cluster of n keys answers a query by n · exp(s q·k̄) · v̄. To first order in the keys' deviations δk from their mean
the answer lacks n · exp(s q·k̄) · Cov(v, δk) s q, and to second order its mass lacks n · exp(s q·k̄) · ½ Var(s q·δk).
In the coordinates of a score space both are a few numbers of a cluster, and the errors of all pairs of clusters are
two products of matrices: nothing is asked of any pair of tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.kernels import Clusters, Moments, block_moments


class QueryMoments(NamedTuple):
    """Of every cluster of queries, in a score space with A axes.

    Attributes:
        mean: [batch, heads, rows, A].
        square: Mean of the squares along every axis [batch, heads, rows, A].
    """

    mean: Tensor
    square: Tensor


def query_moments(q: Tensor, mean: Tensor, clusters: Clusters) -> QueryMoments:
    """Moments of queries q [batch, heads, tokens, A] in a score space, from the means [batch, heads, rows, A] there."""
    variances = block_moments(q, clusters.offsets, order=clusters.order).variances
    return QueryMoments(mean, variances + mean.square())


def centroid_error(queries: QueryMoments, keys: Moments, mass: Tensor, values: Tensor) -> Tensor:
    """‖what a centroid answers a cluster of queries − what its keys would‖², to second order.

    mass² · (‖X q̄‖² + ¼ (Σ_i mean q_i² · variance_i)² ‖v̄ − o‖²), X the covariance of values with keys and o what the row
    sees: a mass that is too small moves the output from v̄ towards it. Axes of a score space are taken as uncorrelated
    inside a cluster, as they are over all keys.

    Args:
        queries: Of the rows.
        keys: Of the columns, in the same space; with values in coordinates that keep lengths.
        mass: Share of attention that every column has of a row's mean query [batch, heads, rows, columns].
        values: Mean values of the columns [batch, heads, columns, head_dim].

    Returns:
        [batch, heads, rows, columns].
    """
    values = values.to(mass.dtype)
    sees = mass @ values
    lengths = values.square().sum(-1).unsqueeze(-2) + sees.square().sum(-1, keepdim=True)
    apart = (lengths - 2 * sees @ values.mT).clamp(min=0)
    error = (queries.square @ keys.variances.mT).square() * apart / 4
    for covariance in keys.covariances.unbind(-2):  # of one axis of the values
        error = error + (queries.mean @ covariance.mT).square()
    return mass.square() * error


def cluster_mass(queries: Tensor, keys: Tensor, log_sizes: Tensor, scale: float) -> Tensor:
    """Softmax over clusters of keys, each counting as many keys as it has, for the mean query of every row.

    Args:
        queries: Mean queries [batch, heads, rows, head_dim].
        keys: Mean keys [batch, heads, columns, head_dim].
        log_sizes: ln of the keys of every column [batch, heads, columns]; −inf where there are none.
        scale: Factor on every q·k.

    Returns:
        [batch, heads, rows, columns]; fp32, fp64 for fp64 queries.
    """
    wide = torch.promote_types(queries.dtype, torch.float32)
    return (queries.to(wide) @ keys.to(wide).mT * scale + log_sizes.to(wide).unsqueeze(-2)).softmax(-1)
