"""What sieve estimates, against loops in fp64: its score space, the error of a centroid, and the deal of a budget."""

import pytest
import torch

from videosieve.kernels import block_moments
from videosieve.kernels.kmeans import Clusters, kmeans
from videosieve.methods.estimates.centroid_error import (
    centroid_error,
    cluster_mass,
    query_moments,
)
from videosieve.methods.estimates.score_space import score_space

SCALE = 0.3


def tokens(head_dim=8, count=90, spread=1.0, seed=0):
    """q, k, v [1, 2, count, head_dim] in fp64; queries have a mean, keys and values vary as much as `spread`."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 1, 2, count, head_dim, generator=generator, dtype=torch.float64)
    return q + 0.5, k * spread, v * spread


def test_with_all_axes_scores_are_whole():
    """head_dim 8 has 8 axes: query · key is scale · q·k less what a query gives to all keys alike."""
    q, k, v = tokens()
    queries, keys = score_space(q, k, v, SCALE).see(q, k)
    scores = q @ k.mT * SCALE
    # A ridge of 1e-4 of the mean square of a query bends what queries hardly have by that much.
    torch.testing.assert_close(
        queries @ keys.mT, scores - scores.mean(-1, keepdim=True), atol=1e-3, rtol=1e-3
    )


def test_distances_are_differences_of_scores():
    q, k, v = tokens()
    space = score_space(q, k, v, SCALE)
    queries, keys = space.see(q, k)
    scores = q @ k.mT * SCALE
    of_keys = (scores[..., :, 3] - scores[..., :, 40]).square().mean(-1).sqrt()
    torch.testing.assert_close(
        (keys[..., 3, :] - keys[..., 40, :]).norm(dim=-1), of_keys, atol=1e-3, rtol=1e-3
    )
    centred = scores - scores.mean(-1, keepdim=True)
    of_queries = (centred[..., 5, :] - centred[..., 70, :]).square().mean(-1).sqrt()
    far = ((queries[..., 5, :] - queries[..., 70, :]) * space.reach).norm(dim=-1)
    torch.testing.assert_close(far, of_queries, atol=1e-3, rtol=1e-3)


def test_few_axes_are_those_in_which_scores_vary():
    """Of 32 values two tell the scores apart, those in which keys vary most are not among them."""
    q, k, v = tokens(head_dim=32)
    q[..., 2:] *= 1e-3
    k[..., 2:] *= 20.0
    queries, keys = score_space(q, k, v, SCALE).see(q, k)
    assert queries.shape[-1] == 8
    scores = q @ k.mT * SCALE
    left = queries @ keys.mT - (scores - scores.mean(-1, keepdim=True))
    assert left.square().mean() < 1e-2 * scores.var()


def test_moments_of_queries_are_those_of_the_clusters():
    q, _, _ = tokens()
    rows = kmeans(q, 5, iterations=3)
    moments = query_moments(q, rows.centroids, rows)
    for head in range(2):
        for c in range(5):
            mine = q[0, head, rows.labels[0, head] == c]
            torch.testing.assert_close(moments.mean[0, head, c], mine.mean(0))
            torch.testing.assert_close(moments.square[0, head, c], mine.square().mean(0))


@pytest.mark.parametrize("spread", [0.1, 0.02])
def test_the_error_of_a_centroid_is_what_was_foretold(spread):
    """One query; keys of a cluster differ along one axis. Both parts tend to the true ones as keys draw together.

    What both leave out is of the next order in the spread of the scores: they are off by a share of about the spread.
    """
    generator = torch.Generator().manual_seed(3)
    centre = torch.randn(1, 1, 6, 1, 8, generator=generator, dtype=torch.float64)
    near, other = torch.randn(2, 1, 1, 6, 40, 1, generator=generator, dtype=torch.float64)
    axis = torch.eye(8, dtype=torch.float64)[:6].view(1, 1, 6, 1, 8)
    k = (centre + near * spread * axis).flatten(2, 3)
    v = (centre.flip(-1) + other * axis + near * axis.roll(1, -1)).flatten(2, 3)
    q = torch.randn(1, 1, 1, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(240)[None, None].int() // 40
    mean_k, mean_v = (x.unflatten(2, (6, 40)).mean(3) for x in (k, v))
    columns = Clusters.of(labels, mean_k, torch.full((1, 1, 6), 40).int())
    one = torch.zeros(1, 1, 1).int()
    row = Clusters.of(one, q, one + 1)
    mass = cluster_mass(q, mean_k, columns.sizes.double().log(), SCALE)
    queries = query_moments(q * SCALE, q * SCALE, row)
    keys = block_moments(k, columns.offsets, y=v, order=columns.order)
    parts = [
        centroid_error(queries, keys._replace(**{name: 0 * getattr(keys, name)}), mass, mean_v)[0, 0, 0]
        for name in ("variances", "covariances")
    ]
    weights = (q @ k.mT * SCALE)[0, 0, 0].exp().view(6, 40)
    whole = 40 * (q @ mean_k.mT * SCALE)[0, 0, 0].exp()
    off = v[0, 0].view(6, 40, 8) - mean_v[0, 0].unsqueeze(1)
    answer = (weights.unsqueeze(-1) * off).sum(1) / whole.sum()
    gap = (weights.sum(1) - whole) / whole.sum()
    apart = (mean_v - mass @ mean_v)[0, 0].square().sum(-1)
    torch.testing.assert_close(parts[0], answer.square().sum(-1), rtol=spread, atol=0)
    torch.testing.assert_close(parts[1], gap.square() * apart, rtol=spread, atol=0)
    both = centroid_error(queries, keys, mass, mean_v)[0, 0, 0]
    torch.testing.assert_close(both, parts[0] + parts[1])
