"""What a centroid will get wrong, before anything is computed: the error of every pair of clusters, from their moments.

A cluster of n keys answers a query by n · exp(s q·k̄) · v̄. To first order in the keys' deviations δk from their mean
the answer lacks n · exp(s q·k̄) · Cov(v, δk) s q, and to second order its mass lacks n · exp(s q·k̄) · ½ Var(s q·δk).
In the coordinates of a score space both are a few numbers of a cluster, and the errors of all pairs of clusters are
two products of matrices: nothing is asked of any pair of tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.kernels import pool_blocks


class Members(NamedTuple):
    """Which tokens belong to the clusters of every head.

    Attributes:
        labels: [batch, heads, tokens]; the cluster of every token.
        order: int64 [batch, heads, tokens]; the tokens cluster by cluster.
        offsets: int64 [batch, heads, clusters + 1]; where clusters begin in that order.
    """

    labels: Tensor
    order: Tensor
    offsets: Tensor

    @property
    def sizes(self) -> Tensor:
        """int64 [batch, heads, clusters]; tokens of every cluster."""
        return self.offsets.diff()

    def mean(self, x: Tensor) -> Tensor:
        """Mean of x [batch, heads, tokens, any] over every cluster, 0 for an empty one."""
        return pool_blocks(x, self.offsets, order=self.order).means

    def of_tokens(self, means: Tensor) -> Tensor:
        """What belongs to the cluster of every token: [batch, heads, clusters, any] to [batch, heads, tokens, any]."""
        return means.gather(2, self.labels.long().unsqueeze(-1).expand(-1, -1, -1, means.shape[-1]))


class QueryMoments(NamedTuple):
    """Of every cluster of queries, in a score space with A axes.

    Attributes:
        mean: [batch, heads, rows, A].
        square: Mean of the squares along every axis [batch, heads, rows, A].
    """

    mean: Tensor
    square: Tensor


class KeyMoments(NamedTuple):
    """Of every cluster of keys.

    Attributes:
        variance: Along every axis [batch, heads, columns, A].
        covariance: Of values with keys [batch, heads, columns, value axes, A].
    """

    variance: Tensor
    covariance: Tensor


def query_moments(q: Tensor, members: Members) -> QueryMoments:
    """Moments of queries in a score space [batch, heads, tokens, A]."""
    mean, square = members.mean(torch.cat([q, q.square()], -1)).chunk(2, -1)
    return QueryMoments(mean, square)


def key_moments(k: Tensor, v: Tensor, members: Members) -> KeyMoments:
    """Moments of keys and values about the means of their clusters.

    Args:
        k: Keys in a score space [batch, heads, tokens, A].
        v: Values in coordinates that keep lengths [batch, heads, tokens, value axes].
        members: The clusters of the keys.

    Returns:
        The moments.
    """
    axes = k.shape[-1]
    k = k - members.of_tokens(members.mean(k))
    moments = members.mean(torch.cat([k.square(), products(v, k)], -1))
    return KeyMoments(moments[..., :axes], moments[..., axes:].unflatten(-1, (-1, axes)))


def products(x: Tensor, y: Tensor) -> Tensor:
    """All products of a value of x with one of y: [..., A] and [..., B] become [..., A · B]."""
    return (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2)


def centroid_error(queries: QueryMoments, keys: KeyMoments, mass: Tensor, values: Tensor) -> Tensor:
    """‖what a centroid answers a cluster of queries − what its keys would‖², to second order.

    mass² · (‖X q̄‖² + ¼ (Σ_i mean q_i² · variance_i)² ‖v̄ − o‖²), X the covariance of values with keys and o what the row
    sees: a mass that is too small moves the output from v̄ towards it. Axes of a score space are taken as uncorrelated
    inside a cluster, as they are over all keys.

    Args:
        queries: Of the rows.
        keys: Of the columns.
        mass: Share of attention that every column has of a row's mean query [batch, heads, rows, columns].
        values: Mean values of the columns [batch, heads, columns, head_dim].

    Returns:
        [batch, heads, rows, columns].
    """
    values = values.to(mass.dtype)
    sees = mass @ values
    apart = values.square().sum(-1).unsqueeze(-2) - 2 * sees @ values.mT + sees.square().sum(-1, keepdim=True)
    answer = (keys.covariance.mT @ keys.covariance).flatten(-2)  # q̄ᵀ Xᵀ X q̄ is one product for all pairs
    first = (products(queries.mean, queries.mean) @ answer.mT).clamp(min=0)
    second = (queries.square @ keys.variance.mT).square() * apart.clamp(min=0) / 4
    return mass.square() * (first + second)


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
