"""SVG-EAR: errors and routes as loops, the dense limit, what is answered, a planted block, refusals."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import RecipeError, VideoLayout
from videosieve.kernels.kmeans import Clusters, kmeans
from videosieve.methods import SemanticPermutation, SvgEar, attend_selected
from videosieve.methods import svg_ear as module
from videosieve.methods.svg_ear import compensation_error, route
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(3, 5, 5),
    "text first, extra": VideoLayout.of(4, 4, 5, text_first=7, extra_last=3),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
FEW = {"query_clusters": 5, "key_clusters": 8, "first_iterations": 4}


def errors_by_loops(call, batch, head, queries, keys):
    """Equation 8, token by token in fp64, every row measured from its largest centroid score."""
    k, v = (x[batch, head, call.layout.video].double() for x in (call.k, call.v))
    labels = keys.labels[batch, head].tolist()
    columns = range(keys.centroids.shape[2])
    tokens = [[j for j, label in enumerate(labels) if label == c] for c in columns]
    error = torch.zeros(queries.centroids.shape[2], len(columns), dtype=torch.float64)
    for i, q in enumerate(queries.centroids[batch, head].double()):
        scores = [float(q @ keys.centroids[batch, head, c].double()) * call.scale for c in columns]
        largest = max(score for score, mine in zip(scores, tokens, strict=True) if mine)
        for c in columns:
            if not tokens[c]:
                continue
            answer = math.exp(scores[c] - largest) * v[tokens[c]].mean(0)
            for j in tokens[c]:
                weight = math.exp(float(q @ k[j]) * call.scale - largest)
                error[i, c] += float((answer - weight * v[j]).square().sum())
    return error


def clusters_of(call):
    return (
        kmeans(x[:, :, call.layout.video], n, iterations=4, seed=seed)
        for x, n, seed in ((call.q, 5, 0), (call.k, 8, 1))
    )


@layouts
@pytest.mark.parametrize("at_once", [2**20, 35])
def test_the_probe_is_equation_8(layout, at_once, monkeypatch):
    monkeypatch.setitem(module.SCORES_AT_ONCE, "cpu", at_once)  # 35: seven keys at a time
    call = make_call(layout, batch=2)
    queries, keys = clusters_of(call)
    errors = compensation_error(call, queries, keys)
    for batch, head in ((0, 0), (1, 1)):
        expected = errors_by_loops(call, batch, head, queries, keys)
        # Squares that cancel: off by the rounding of the largest of them.
        torch.testing.assert_close(
            errors[batch, head].double(), expected, rtol=1e-4, atol=1e-5 * float(expected.max())
        )


@layouts
def test_rows_fill_svg2s_budget_with_the_highest_error_per_key(layout):
    call = make_call(layout, batch=2)
    queries, keys = clusters_of(call)
    svg2 = SemanticPermutation(0.6, 0.0, **FEW).choose(call, queries, keys)
    keep = SvgEar(0.6, 0.0, **FEW).select(call, None)[0].mask.keep
    outside = int(layout.other_tokens > 0)
    keep = keep[:, :, : keep.shape[2] - outside, : keep.shape[3] - outside]
    errors, sizes = compensation_error(call, queries, keys), keys.sizes
    assert not torch.equal(keep, svg2)
    for batch, head, row in ((0, 0, 0), (1, 1, 4), (0, 1, 2)):
        size = sizes[batch, head].tolist()
        budget = sum(n for n, kept in zip(size, svg2[batch, head, row].tolist(), strict=True) if kept)
        columns = [c for c in range(len(size)) if size[c]]
        ranked = sorted(columns, key=lambda c: -float(errors[batch, head, row, c]) / size[c])
        expected, spent = {ranked[0]}, size[ranked[0]]
        for column in ranked[1:]:
            if spent + size[column] > budget:
                break
            expected, spent = expected | {column}, spent + size[column]
        assert set(keep[batch, head, row].nonzero().flatten().tolist()) == expected


def test_what_is_left_out_is_answered():
    call = make_call(LAYOUTS["video only"])
    selection, _ = SvgEar(0.4, 0.0, **FEW).select(call, None)
    assert selection.compensate
    result = attend_selected(call, selection)
    assert bool((result.answered_lse > result.lse).any())
    assert bool((result.answered_density > 0).any())


@layouts
@pytest.mark.parametrize("parameters", [{"threshold": 1.0}, {"density": 1.0}, {"min_share": 1.0}])
def test_keeping_every_cluster_is_dense_attention(layout, parameters):
    call = make_call(layout)
    output = attend_selected(call, SvgEar(**FEW | parameters).select(call, None)[0]).output
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


def test_a_heavy_block_of_equal_keys_is_left_to_its_centroid_and_a_light_mixed_one_is_computed():
    call = make_call(VideoLayout.of(1, 2, 6), heads=1, head_dim=4)
    labels = torch.arange(3).repeat_interleave(4)[None, None].int()
    call.k[:], call.v[:] = 0.0, 1.0
    call.k[0, 0, :4, 0] = 3.0  # heavy and alike
    call.k[0, 0, 8:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    call.v[0, 0, 8:] *= torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    sizes = torch.full((1, 1, 3), 4, dtype=torch.int32)
    means = call.k.view(1, 1, 3, 4, 4).mean(3)
    query = torch.tensor([2.0, 0, 0, 0]).view(1, 1, 1, 4)
    queries = Clusters.of(torch.zeros(1, 1, 12, dtype=torch.int32), query, sizes[..., :1])
    keys = Clusters.of(labels, means, sizes)
    errors = compensation_error(call, queries, keys)
    assert route(errors, sizes, torch.tensor([[[4]]])).tolist() == [[[[False, False, True]]]]


def test_clusters_without_keys_are_never_kept_and_a_small_budget_keeps_one():
    errors = torch.tensor([[[[5.0, 9.0, 1.0]]]])
    sizes = torch.tensor([[[10, 0, 1]]])
    assert route(errors, sizes, torch.tensor([[[0]]])).tolist() == [[[[False, False, True]]]]
    assert route(errors, sizes, torch.tensor([[[11]]])).tolist() == [[[[True, False, True]]]]


def test_every_step_starts_where_the_last_one_ended():
    call = make_call(LAYOUTS["video only"])
    _, state = SvgEar(0.5, **FEW).select(call, None)
    _, after = SvgEar(0.5, **FEW).select(call, state)
    expected = kmeans(call.k, 8, iterations=2, centroids=state.keys)
    assert torch.equal(after.keys, expected.centroids)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0.0}, r"mass that makes the budget and must lie in \(0, 1\], got threshold=0.0"),
        ({"min_share": 1.2}, "got min_share=1.2"),
        ({"density": 0.0}, "got density=0.0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        SvgEar(**parameters)
