"""SVG2: the block map as loops, the dense limit, planted clusters, warm starts, invariances, refusals."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.kernels.kmeans import Clusters, kmeans
from videosieve.methods import SemanticPermutation, attend_selected
from videosieve.methods.semantic_permutation import SvgTwoState, cluster_mass
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(3, 5, 5),
    "text last": VideoLayout.of(4, 4, 5, text_last=9),
    "text first, extra": VideoLayout.of(4, 4, 5, text_first=7, extra_last=3),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
FEW = {"query_clusters": 5, "key_clusters": 8, "first_iterations": 4}


def pairs_of(selection):
    """Kept pairs of tokens, in the order of the model."""
    keep = selection.mask.to_dense()
    back_q, back_k = (order.order.argsort(-1) for order in (selection.query_order, selection.key_order))
    rows = back_q.unsqueeze(-1).expand_as(keep)
    columns = back_k.unsqueeze(-2).expand_as(keep)
    return keep.gather(2, rows).gather(3, columns)


def pairs_by_loops(call, batch, head, queries, keys, threshold, min_share):
    """Weighted centroid softmax, top-p with the cluster that crosses it, at least a share of the clusters."""
    q_labels, k_labels = queries.labels[batch, head].tolist(), keys.labels[batch, head].tolist()
    start = call.layout.video.start
    pairs = torch.zeros(call.tokens, call.tokens, dtype=torch.bool)
    outside = torch.ones(call.tokens, dtype=torch.bool)
    outside[call.layout.video] = False
    clusters = keys.centroids.shape[2]
    for i in range(queries.centroids.shape[2]):
        weight = [
            k_labels.count(j)
            * math.exp(float(queries.centroids[batch, head, i] @ keys.centroids[batch, head, j]) * call.scale)
            for j in range(clusters)
        ]
        order = sorted(range(clusters), key=lambda j: -weight[j])
        before, kept = 0.0, []
        for rank, j in enumerate(order):
            if before < threshold * sum(weight) or rank < int(min_share * clusters):
                kept.append(j)
            before += weight[j]
        rows = torch.tensor([start + n for n, label in enumerate(q_labels) if label == i], dtype=torch.int64)
        columns = [start + n for n, label in enumerate(k_labels) if label in kept]
        pairs[rows[:, None], torch.tensor(columns, dtype=torch.int64)] = True
    return pairs | outside | outside[:, None]


@layouts
@pytest.mark.parametrize(("threshold", "min_share"), [(0.4, 0.0), (0.2, 0.5), (0.8, 0.1)])
def test_the_block_map_is_the_papers(layout, threshold, min_share):
    call = make_call(layout, batch=2)
    method = SemanticPermutation(threshold, min_share, **FEW)
    pairs = pairs_of(method.select(call, None)[0])
    queries, keys = (
        kmeans(x[:, :, layout.video], n, iterations=4, seed=seed)
        for x, n, seed in ((call.q, 5, 0), (call.k, 8, 1))
    )
    assert not pairs.all()
    for batch, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
        expected = pairs_by_loops(call, batch, head, queries, keys, threshold, min_share)
        assert torch.equal(pairs[batch, head], expected)


@layouts
def test_the_output_is_attention_over_the_kept_pairs(layout):
    call = make_call(layout, batch=2)
    selection, _ = SemanticPermutation(0.4, **FEW).select(call, None)
    expected = scaled_dot_product_attention(call.q, call.k, call.v, attn_mask=pairs_of(selection))
    torch.testing.assert_close(attend_selected(call, selection).output, expected, atol=1e-5, rtol=1e-4)


@layouts
@pytest.mark.parametrize("parameters", [{"threshold": 1.0}, {"density": 1.0}, {"min_share": 1.0}])
def test_keeping_every_cluster_is_dense_attention(layout, parameters):
    call = make_call(layout)
    output = attend_selected(call, SemanticPermutation(**FEW | parameters).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


def test_scattered_groups_of_alike_tokens_are_found():
    """Four kinds of tokens all over the video, each attending to one kind: no order of the grid would show it."""
    layout = VideoLayout.of(8, 8, 8)
    kind = torch.randint(0, 4, (512,), generator=torch.Generator().manual_seed(4))
    partner = torch.tensor([2, 0, 3, 1])
    call = make_call(layout, heads=1, head_dim=8)
    for x, of in ((call.q, kind), (call.k, partner.argsort()[kind])):
        x.mul_(0.05)[0, 0, torch.arange(512), of] += 5
    method = SemanticPermutation(0.9, query_clusters=8, key_clusters=16)
    pairs = pairs_of(method.select(call, None)[0])
    assert torch.equal(pairs[0, 0], partner[kind][:, None] == kind)


@pytest.mark.parametrize("density", [0.1, 0.4, 0.7])
def test_a_density_is_filled_with_the_heaviest_clusters(density):
    call = make_call(VideoLayout.of(8, 8, 8), batch=2)
    method = SemanticPermutation(density=density, min_share=0.0, query_clusters=6, key_clusters=32)
    mask = method.select(call, None)[0].mask
    held = (mask.keep * mask.key_sizes.unsqueeze(-2)).sum(-1)
    largest = mask.key_sizes.amax()
    assert (held >= density * 512).all()
    assert (held < density * 512 + largest).all()


def test_every_step_starts_where_the_last_one_ended():
    layout = LAYOUTS["text last"]
    method = SemanticPermutation(0.5, **FEW)
    first = make_call(layout)
    _, state = method.select(first, None)
    second = make_call(layout, generator=torch.Generator().manual_seed(1))
    _, after = method.select(second, state)
    expected = kmeans(second.q[:, :, layout.video], 5, iterations=2, centroids=state.queries)
    assert torch.equal(after.queries, expected.centroids)
    expected = kmeans(second.k[:, :, layout.video], 8, iterations=2, centroids=state.keys)
    assert torch.equal(after.keys, expected.centroids)


def test_twelve_iterations_are_as_good_as_the_authors_fifty():
    """Mean squared distance to the own centroid, where no cluster is planted: what remains to be won is small."""
    x = torch.randn(1, 2, 2000, 16, generator=torch.Generator().manual_seed(0))
    assert SemanticPermutation().first_iterations == 12
    distances = {}
    for iterations in (1, 12, 50):
        clusters = kmeans(x, 60, iterations=iterations)
        own = clusters.centroids.gather(2, clusters.labels.long().unsqueeze(-1).expand_as(x))
        distances[iterations] = float((x - own).square().sum(-1).mean())
    assert distances[12] < 1.01 * distances[50] < 1.01 * distances[1] / 1.05


def test_branches_and_generations_do_not_share_centroids():
    layout = LAYOUTS["video only"]
    run = Run(Recipe(SemanticPermutation(0.5, **FEW), DenseFirst(0, 0), min_tokens=0))
    for step, branch in ((0, "cond"), (0, "uncond"), (1, "cond")):
        seed = torch.Generator().manual_seed(step + len(branch))
        run.attend(make_call(layout, site=Site(0, 1, step, 2, branch), generator=seed))
    states = run.states()
    assert set(states) == {("", 0, "cond"), ("", 0, "uncond")}
    assert not torch.equal(states["", 0, "cond"].keys, states["", 0, "uncond"].keys)
    run.begin()
    assert not run.states()


def test_tokens_in_other_places_are_in_the_same_clusters():
    layout = LAYOUTS["text last"]
    call = make_call(layout)
    generator = torch.Generator().manual_seed(3)
    order = torch.arange(layout.tokens)
    order[layout.video] = torch.randperm(layout.grid.tokens, generator=generator)
    moved = AttentionCall(*(x[:, :, order] for x in (call.q, call.k, call.v)), layout)
    start = SvgTwoState(*(torch.randn(1, 2, n, 16, generator=generator) for n in (5, 8)))
    pairs, there = (pairs_of(SemanticPermutation(0.5, **FEW).select(c, start)[0]) for c in (call, moved))
    assert torch.equal(there, pairs[:, :, order][..., order])


def test_empty_clusters_have_no_mass():
    sizes = torch.tensor([[[3, 0, 5]]], dtype=torch.int32)
    centroids = torch.ones(1, 1, 3, 4)
    keys = Clusters.of(torch.zeros(1, 1, 8, dtype=torch.int32), centroids, sizes)
    mass = cluster_mass(keys, keys, 1.0)
    torch.testing.assert_close(mass[0, 0, 0], torch.tensor([3 / 8, 0, 5 / 8]))


def test_the_default_numbers_of_clusters_follow_the_length():
    def counts(frames, height, width):
        call = make_call(VideoLayout.of(frames, height, width), heads=1, head_dim=2)
        _, state = SemanticPermutation(first_iterations=1).select(call, None)
        return state.queries.shape[2], state.keys.shape[2]

    assert counts(1, 1, 3) == (1, 1)
    assert counts(16, 8, 8) == (16, 32)
    assert counts(16, 32, 32) == (100, 500)


def test_more_clusters_than_tokens_are_refused():
    with pytest.raises(RecipeError, match="got 5 query clusters and 80 key clusters for 75 tokens"):
        SemanticPermutation(query_clusters=5, key_clusters=80).select(make_call(), None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0.0}, r"mass to keep per query cluster and must lie in \(0, 1\], got threshold=0.0"),
        ({"density": 0.0}, "got density=0.0"),
        ({"min_share": 1.2}, r"must lie in \[0, 1\], got min_share=1.2"),
        ({"query_clusters": 0}, "query_clusters must be a whole number >= 1, got query_clusters=0"),
        ({"key_clusters": 2.5}, "got key_clusters=2.5"),
        ({"first_iterations": 0}, "first_iterations must be a whole number >= 1"),
        ({"step_iterations": None}, "got step_iterations=None"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        SemanticPermutation(**parameters)
