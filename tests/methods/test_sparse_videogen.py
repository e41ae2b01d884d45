"""Sparse VideoGen: Algorithm 1 as loops, planted heads, limits, invariances, and its refusals."""

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, Site, VideoLayout
from videosieve.methods import SparseVideoGen, SpatialOnly, TemporalOnly, attend_selected
from videosieve.methods.estimates import sampled_rows as profiling
from videosieve.methods.estimates.sampled_rows import generator_for, row_count, stratified_rows
from videosieve.methods.geometry.band import band_patterns

LAYOUTS = {
    "video only": VideoLayout.of(5, 4, 5),
    "text first": VideoLayout.of(5, 4, 5, text_first=11),
    "text last": VideoLayout.of(5, 4, 5, text_last=11),
    "text and extra": VideoLayout.of(7, 3, 5, text_first=3, extra_last=6),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
sinks = pytest.mark.parametrize("sink", [False, True], ids=["no sink", "sink"])
variants = pytest.mark.parametrize(
    ("profile", "sink"),
    [("sound", False), ("sound", True), ("official", False)],
    ids=["sound", "sound with sink", "official"],
)
CPU = torch.device("cpu")


def make_call(layout, batch=2, heads=3, head_dim=8, seed=0, site=None, dtype=torch.float32, sharp=2.0):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, heads, layout.tokens, head_dim, generator=generator) for _ in range(3))
    return AttentionCall((sharp * q).to(dtype), k.to(dtype), v.to(dtype), layout, site or Site())


def dense(call):
    return scaled_dot_product_attention(call.q, call.k, call.v, scale=call.scale)


def planted(layout, kinds, sharp=12.0):
    """Heads that attend within a frame (0) or to one place in all frames (1): an orthogonal code per frame or place.

    Args:
        layout: Which token is which.
        kinds: Nested list [batch][heads] of 0 and 1.
        sharp: Score of a planted pair above the others.
    """
    frames, per_frame = layout.grid.frames, layout.grid.tokens_per_frame
    dim = max(frames, per_frame)
    index = torch.arange(layout.grid.tokens)
    generator = torch.Generator().manual_seed(1)
    q = torch.zeros(len(kinds), len(kinds[0]), layout.tokens, dim)
    for batch, heads in enumerate(kinds):
        for head, kind in enumerate(heads):
            code = torch.eye(dim)[(index % per_frame) if kind else (index // per_frame)]
            q[batch, head, layout.video] = code * (sharp * dim**0.5) ** 0.5
    v = torch.randn(q.shape, generator=generator)
    return AttentionCall(q, q.clone(), v, layout)


@layouts
@sinks
def test_every_head_gets_the_mask_with_the_smaller_error_of_algorithm_1(layout, sink):
    call = make_call(layout, sharp=4.0)
    every_row = 1.0
    method = SparseVideoGen(density=0.4, block=8, profile_rows=every_row, first_frame_sink=sink)
    selection, _ = method.select(call, None)
    patterns = band_patterns(layout, 0.4, 8, sink, CPU)
    for b in range(call.batch):
        for h in range(call.heads):
            errors, recalls = [], []
            for pattern in patterns:
                total, mass = 0.0, 0.0
                for row in range(layout.video.start, layout.video.stop):
                    scores = call.k[b, h] @ call.q[b, h, row] * call.scale
                    kept = pattern.rows(torch.tensor([row]))[0, 0, 0]
                    weights = scores.softmax(0)
                    sparse = scores.masked_fill(~kept, -torch.inf).softmax(0)
                    total += float(((sparse - weights) @ call.v[b, h]).square().mean())
                    mass += float(weights[kept].sum())
                errors.append(total / layout.grid.tokens)
                recalls.append(mass / layout.grid.tokens)
            best = 1 if errors[1] < errors[0] else 0
            assert selection.pattern[b, h] == best
            assert selection.recall[b, h] == pytest.approx(recalls[best], abs=1e-5)
    assert selection.pattern.dtype == torch.int64
    assert selection.patterns == ("spatial", "temporal")


def test_the_heads_above_are_of_both_kinds():
    selection, _ = SparseVideoGen(density=0.4, block=8, profile_rows=1.0).select(
        make_call(LAYOUTS["text last"], sharp=4.0), None
    )
    assert set(selection.pattern.flatten().tolist()) == {0, 1}


def test_a_tie_goes_to_the_spatial_kind():
    layout = VideoLayout.of(1, 6, 8, text_first=5)  # one frame: both orders, and so both masks, are the same
    selection, _ = SparseVideoGen(density=0.4, block=8).select(make_call(layout), None)
    assert selection.mask.density < 0.6
    assert selection.pattern.tolist() == [[0, 0, 0], [0, 0, 0]]


@layouts
@sinks
def test_the_profiled_mask_is_the_executed_mask(layout, sink):
    call = make_call(layout)
    selection, _ = SparseVideoGen(
        density=0.3, block=8, profile_rows=layout.grid.tokens, first_frame_sink=sink
    ).select(call, None)
    full = (call.q @ call.k.mT * call.scale).logsumexp(-1)
    executed = (attend_selected(call, selection).lse - full).exp()[..., layout.video].mean(-1)
    torch.testing.assert_close(selection.recall, executed)


@layouts
@pytest.mark.parametrize("kind", [0, 1], ids=["spatial", "temporal"])
@pytest.mark.parametrize(
    "method",
    [
        SparseVideoGen(density=1.0, block=16),
        SparseVideoGen(density=1, block=16, first_frame_sink=True),
        SparseVideoGen(density=1.0),
        SpatialOnly(density=1.0, block=16),
        TemporalOnly(density=1.0, block=16),
        TemporalOnly(density=1.0, block=16, first_frame_sink=True),
    ],
    ids=["svg", "svg sink", "svg one block", "spatial_only", "temporal_only", "temporal_only sink"],
)
def test_density_1_is_dense_attention(layout, kind, method):
    call = planted(layout, [[kind, 1 - kind]], sharp=3.0)
    selection, _ = method.select(call, None)
    assert selection.mask.density == 1.0
    torch.testing.assert_close(attend_selected(call, selection).output, dense(call))


@pytest.mark.parametrize(
    "layout",
    [
        VideoLayout.of(8, 8, 8),
        VideoLayout.of(8, 8, 8, text_first=20),
        VideoLayout.of(8, 8, 8, text_last=20),
        VideoLayout.of(9, 7, 9, text_last=13),
    ],
    ids=["video only", "text first", "text last", "odd"],
)
@variants
def test_planted_heads_are_found_and_computed_almost_exactly(layout, sink, profile):
    kinds = [[0, 1, 1, 0], [1, 0, 1, 0]]
    call = planted(layout, kinds)
    method = SparseVideoGen(density=0.5, block=16, profile=profile, first_frame_sink=sink)
    selection, _ = method.select(call, None)
    assert selection.pattern.tolist() == kinds
    result = attend_selected(call, selection)
    torch.testing.assert_close(
        result.output[:, :, layout.video], dense(call)[:, :, layout.video], atol=0.02, rtol=0
    )
    if profile == "sound":
        assert (selection.recall > 0.99).all()


def test_the_wrong_kind_misses_a_planted_head():
    call = planted(VideoLayout.of(8, 8, 8), [[0, 1]])
    for method, right in ((SpatialOnly(0.5, block=16), 0), (TemporalOnly(0.5, block=16), 1)):
        selection, _ = method.select(call, None)
        error = (attend_selected(call, selection).output - dense(call)).abs().amax((0, 2, 3))
        assert error[right] < 0.02
        assert error[1 - right] > 0.5


@variants
def test_a_batch_is_each_element_alone(sink, profile):
    layout = LAYOUTS["text first"]
    call = make_call(layout, batch=3)
    method = SparseVideoGen(density=0.4, block=8, profile=profile, first_frame_sink=sink)
    selection, _ = method.select(call, None)
    together = attend_selected(call, selection).output
    for b in range(3):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), layout)
        single, _ = method.select(alone, None)
        assert torch.equal(single.pattern, selection.pattern[b : b + 1])
        torch.testing.assert_close(attend_selected(alone, single).output, together[b : b + 1])


@sinks
def test_permuting_heads_permutes_the_answer(sink):
    layout, order = LAYOUTS["text last"], torch.tensor([2, 0, 3, 1])
    call = make_call(layout, heads=4)
    moved = AttentionCall(*(x[:, order] for x in (call.q, call.k, call.v)), layout)
    method = SparseVideoGen(density=0.4, block=8, first_frame_sink=sink)
    (here, _), (there, _) = method.select(call, None), method.select(moved, None)
    assert torch.equal(there.pattern, here.pattern[:, order])
    torch.testing.assert_close(there.recall, here.recall[:, order])
    torch.testing.assert_close(
        attend_selected(moved, there).output, attend_selected(call, here).output[:, order]
    )


@pytest.mark.parametrize("sink", [False, True], ids=["no sink", "sink"])
@pytest.mark.parametrize(("method", "kind"), [(SpatialOnly, 0), (TemporalOnly, 1)])
def test_the_ablations_are_svg_with_one_kind_for_all(method, kind, sink):
    layout = LAYOUTS["text first"]
    call = planted(layout, [[kind, kind]])  # SVG calls all of these heads the same
    ours, state = method(density=0.4, block=8, first_frame_sink=sink).select(call, None)
    svg, _ = SparseVideoGen(density=0.4, block=8, first_frame_sink=sink).select(call, None)
    assert state is None
    assert ours.recall is None
    assert ours.pattern.tolist() == [[kind, kind]] == svg.pattern.tolist()
    assert ours.mask.keep.shape[:2] == (1, 1)
    torch.testing.assert_close(attend_selected(call, ours).output, attend_selected(call, svg).output)


def test_equal_calls_get_the_same_mask_object():
    first, second = (make_call(VideoLayout.of(5, 4, 5), seed=seed) for seed in (0, 1))
    for method in (
        SparseVideoGen(block=8),
        SpatialOnly(block=8),
        TemporalOnly(block=8, first_frame_sink=True),
    ):
        assert method.select(first, None)[0].mask is method.select(second, None)[0].mask


def test_selection_is_reproducible_and_leaves_the_global_generator_alone():
    call = make_call(LAYOUTS["text last"])
    before = torch.get_rng_state()
    (first, _), (second, _) = (SparseVideoGen(block=8).select(call, None) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.recall, second.recall)


def test_the_seed_decides_which_rows_are_profiled():
    call = make_call(LAYOUTS["text last"])
    recalls = [
        SparseVideoGen(block=8, profile_rows=4, seed=seed).select(call, None)[0].recall for seed in (0, 1)
    ]
    assert not torch.equal(*recalls)


def test_the_profile_is_mean_squared_error_and_mean_mass():
    call = make_call(LAYOUTS["text last"], heads=1)
    rows = torch.tensor([3, 40, 77])
    kept = torch.rand(3, call.tokens, generator=torch.Generator().manual_seed(2)) > 0.5
    error, recall = profiling.profile_masks(
        call, rows, [lambda part: kept[torch.isin(rows, part)][None, None]]
    )
    scores = call.q[:, :, rows] @ call.k.mT * call.scale
    masked = scores.masked_fill(~kept, -torch.inf).softmax(-1)
    torch.testing.assert_close(error[0], ((masked - scores.softmax(-1)) @ call.v).square().mean((2, 3)))
    torch.testing.assert_close(recall[0], (scores.softmax(-1) * kept).sum(-1).mean(-1))


def test_seed_layer_and_step_each_change_the_sampled_rows():
    layout = VideoLayout.of(9, 8, 8)
    sites = [Site(1, 9, 2, 9), Site(2, 9, 1, 9), Site(1, 9, 1, 9)]
    draws = [stratified_rows(layout, 40, generator_for(0, site)) for site in sites]
    draws += [stratified_rows(layout, 40, generator_for(seed, sites[0])) for seed in (1, 2**32, 2**40)]
    assert len({tuple(rows.tolist()) for rows in draws}) == 6
    assert torch.equal(stratified_rows(layout, 40, generator_for(0, sites[0])), draws[0])


@layouts
@pytest.mark.parametrize("count", [1, 7, 33, 60, 100])
def test_rows_are_distinct_video_rows_shared_evenly_by_the_frames(layout, count):
    rows = stratified_rows(layout, count, generator_for(3, Site()))
    assert len(set(rows.tolist())) == len(rows) == count
    frame = (rows - layout.video.start) // layout.grid.tokens_per_frame
    assert rows.min() >= layout.video.start
    assert rows.max() < layout.video.stop
    share = count / layout.grid.frames
    for rows_of_frame in frame.bincount(minlength=layout.grid.frames):
        assert abs(rows_of_frame - share) < 2


def test_every_row_can_be_drawn():
    layout = VideoLayout.of(3, 2, 3, text_first=2)
    drawn = torch.cat([stratified_rows(layout, 4, generator_for(seed, Site())) for seed in range(100)])
    assert drawn.unique().tolist() == list(range(2, 20))


@pytest.mark.parametrize(
    ("rows", "tokens", "count"),
    [
        (0.01, 119_000, 1190),
        (0.01, 1000, 16),
        (0.5, 10, 10),
        (1.0, 700, 700),
        (3, 1000, 3),
        (64, 40, 40),
        (1, 9, 1),
    ],
)
def test_a_fraction_is_raised_to_16_rows_and_a_count_is_taken_as_it_is(rows, tokens, count):
    assert row_count(rows, tokens) == count


def test_profiling_in_many_passes_changes_nothing(monkeypatch):
    call = make_call(LAYOUTS["text last"])
    method = SparseVideoGen(density=0.3, block=8, profile_rows=37)
    whole, _ = method.select(call, None)
    passes = []
    real = profiling.sampled_attention
    monkeypatch.setitem(profiling.SCORES_AT_ONCE, "cpu", 5 * call.batch * call.heads * call.tokens)
    monkeypatch.setattr(
        profiling,
        "sampled_attention",
        lambda q, *args, **kw: passes.append(q.shape[2]) or real(q, *args, **kw),
    )
    parts, _ = method.select(call, None)
    assert passes == [5] * 7 + [2]
    assert torch.equal(parts.pattern, whole.pattern)
    torch.testing.assert_close(parts.recall, whole.recall)


def test_low_precision_inputs_are_profiled_in_fp32():
    call = make_call(LAYOUTS["text last"], dtype=torch.bfloat16)
    wide = AttentionCall(*(x.float() for x in (call.q, call.k, call.v)), call.layout)
    (low, _), (high, _) = (SparseVideoGen(density=0.3, block=8).select(x, None) for x in (call, wide))
    assert low.recall.dtype == torch.float32
    assert torch.equal(low.pattern, high.pattern)
    torch.testing.assert_close(low.recall, high.recall)


def test_the_scale_of_the_call_is_the_scale_of_the_profile():
    call = make_call(LAYOUTS["text last"])
    scaled = AttentionCall(call.q * 4, call.k, call.v, call.layout, scale=call.scale / 4)
    (first, _), (second, _) = (SparseVideoGen(density=0.3, block=8).select(x, None) for x in (call, scaled))
    torch.testing.assert_close(first.recall, second.recall)


LONG = """
import torch
from videosieve import AttentionCall, SparseVideoGen, VideoLayout
torch.set_num_threads(2)
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 2, layout.tokens, 16)
call = AttentionCall(q, k, v, layout)
selection, _ = SparseVideoGen(profile_rows={rows}).select(call, None)
assert abs(selection.mask.density - 0.3) < 0.001, selection.mask.density
official, _ = SparseVideoGen(profile_rows=16, profile="official").select(call, None)
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


def peak_gib(rows):
    run = subprocess.run(
        [sys.executable, "-c", LONG.format(rows=rows)], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def test_119056_tokens_need_less_than_a_gib_and_a_half():
    # One S × S tensor of bools would be 13.2 GiB; the passes of 70 rows are about 64 MiB of scores each.
    assert peak_gib(rows=100) < 1.5


@pytest.mark.slow
def test_119056_tokens_need_no_more_with_1_percent_of_the_rows():
    assert peak_gib(rows=0.01) < 1.5


@pytest.mark.parametrize("rows", [0, -3, 0.0, 1.5, -0.1, True, float("nan"), "64", None])
def test_rows_that_are_neither_a_fraction_nor_a_count_are_refused(rows):
    with pytest.raises(
        RecipeError, match=r"fraction of the video tokens in \(0, 1\] or a count of at least 1, got"
    ):
        SparseVideoGen(profile_rows=rows)


def test_an_unknown_profile_is_refused():
    with pytest.raises(RecipeError, match="must be 'sound' or 'official', got profile='paper'"):
        SparseVideoGen(profile="paper")


def test_the_official_variant_refuses_a_sink_of_ones_own():
    with pytest.raises(RecipeError, match="sink where the layout is video only .* use profile='sound'"):
        SparseVideoGen(profile="official", first_frame_sink=True)


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(RecipeError, match="seed must be a whole number >= 0 and below 2\\^63, got seed='x'"):
        SparseVideoGen(seed="x")
