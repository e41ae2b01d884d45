"""What sieve estimates, against loops in fp64: its score space, the error of a centroid, and the deal of a budget."""

import pytest
import torch

from videosieve.kernels.kmeans import kmeans
from videosieve.methods.estimates.budget import deal
from videosieve.methods.estimates.centroid_error import (
    Members,
    centroid_error,
    cluster_mass,
    key_moments,
    query_moments,
)
from videosieve.methods.estimates.score_space import score_space

SCALE = 0.3


def tokens(head_dim=8, count=90, spread=1.0, seed=0):
    """q, k, v [1, 2, count, head_dim] in fp64; queries have a mean, keys and values vary as much as `spread`."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 1, 2, count, head_dim, generator=generator, dtype=torch.float64)
    return q + 0.5, k * spread, v * spread


def members_of(x, count):
    clusters = kmeans(x, count, iterations=3)
    order = torch.sort(clusters.labels, dim=-1, stable=True).indices
    return Members(clusters.labels, order, torch.nn.functional.pad(clusters.sizes.long().cumsum(-1), (1, 0)))


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


def test_moments_are_those_of_the_clusters():
    q, k, v = tokens()
    rows, columns = members_of(q, 5), members_of(k, 7)
    squares, moments = query_moments(q, rows), key_moments(k, v, columns)
    for head in range(2):
        for c in range(5):
            mine = q[0, head, rows.labels[0, head] == c]
            torch.testing.assert_close(squares.mean[0, head, c], mine.mean(0))
            torch.testing.assert_close(squares.square[0, head, c], mine.square().mean(0))
        for c in range(7):
            some = columns.labels[0, head] == c
            keys, values = k[0, head, some], v[0, head, some]
            off = keys - keys.mean(0)
            torch.testing.assert_close(moments.variance[0, head, c], off.square().mean(0))
            torch.testing.assert_close(moments.covariance[0, head, c], values.T @ off / len(keys))


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
    labels = torch.arange(240)[None, None] // 40
    columns = Members(labels, torch.arange(240)[None, None], torch.arange(0, 241, 40)[None, None])
    row = Members(torch.zeros(1, 1, 1).long(), torch.zeros(1, 1, 1).long(), torch.tensor([[[0, 1]]]))
    mean_k, mean_v = columns.mean(k), columns.mean(v)
    mass = cluster_mass(q, mean_k, columns.sizes.double().log(), SCALE)
    queries, keys = query_moments(q * SCALE, row), key_moments(k, v, columns)
    parts = [
        centroid_error(queries, keys._replace(**{name: 0 * getattr(keys, name)}), mass, mean_v)[0, 0, 0]
        for name in ("variance", "covariance")
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


def deal_loops(worth, rows, columns, budget):
    """One head: the best of every row, then pair by pair."""
    cost = rows[:, None] * (columns - 1).clamp(min=0)
    keep = torch.zeros_like(worth, dtype=torch.bool)
    first = [(r, int(worth[r].argmax())) for r in range(len(rows))]
    rest = sorted(
        ((r, c) for r in range(len(rows)) for c in range(len(columns)) if (r, c) not in first),
        key=lambda pair: -float(worth[pair]),
    )
    spent = 0
    for pair in first:
        spent += int(cost[pair])
        keep[pair] = True
    for pair in rest:
        spent += int(cost[pair])
        if spent > budget:
            break
        keep[pair] = True
    return keep


@pytest.mark.parametrize("budget", [0, 300, 1_500, 100_000])
def test_the_budget_goes_to_what_is_worth_most(budget):
    generator = torch.Generator().manual_seed(1)
    worth = torch.rand(2, 2, 6, 9, generator=generator)
    rows = torch.randint(0, 30, (2, 2, 6), generator=generator)
    columns = torch.randint(1, 20, (2, 2, 9), generator=generator)
    keep = deal(worth, rows, columns, torch.full((2, 2, 1), budget))
    for b in range(2):
        for h in range(2):
            expected = deal_loops(worth[b, h], rows[b, h], columns[b, h], budget)
            assert torch.equal(keep[b, h], expected)
    assert bool(keep.any(-1).all())
    assert bool(keep.all()) == (budget == 100_000)


def test_clusters_without_keys_are_kept_and_cost_nothing():
    worth = torch.tensor([[[[0.5, 9.0, 0.1], [0.2, 9.0, 0.3]]]])
    keep = deal(worth, torch.tensor([[[4, 4]]]), torch.tensor([[[5, 0, 5]]]), torch.zeros(1, 1, 1).long())
    assert keep.tolist() == [[[[True, True, False], [False, True, True]]]]


def test_what_is_no_number_is_worth_nothing():
    worth = torch.tensor([[[[float("nan"), 1.0, float("nan")]]]])
    keep = deal(worth, torch.tensor([[[4]]]), torch.tensor([[[5, 5, 5]]]), torch.full((1, 1, 1), 16))
    assert keep.tolist() == [[[[False, True, False]]]]
