"""sieve: its rank as loops, the dense limit, planted errors and shapes, invariances, states, refusals."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, Run, VideoLayout
from videosieve.forward import Site
from videosieve.lending import Lent
from videosieve.methods import attend_selected, make_method
from videosieve.methods.cubes import CUBES, cube_orders
from videosieve.methods.sieve import Sieve, SieveState, blocks_per_row
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.testing.factories import make_call

CUBE = (2, 2, 4)
LAYOUTS = {
    "whole cubes": VideoLayout.of(4, 4, 8),
    "odd, text last": VideoLayout.of(5, 3, 7, text_last=9),
    "odd, text first": VideoLayout.of(5, 3, 7, text_first=21),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def order_of(layout, cube=CUBE):
    return cube_orders(layout, (cube,), torch.device("cpu"))[0]


def blocks_of(layout):
    return order_of(layout).split(16)


def rank_loops(call, batch, head):
    """Mean softmax over centroids × root of both variances, a block and a query at a time, in fp64."""
    q, k, v = (x[batch, head].double() for x in (call.q, call.k, call.v))
    blocks = blocks_of(call.layout)
    rank = torch.zeros(len(blocks), len(blocks), dtype=torch.float64)
    for row, queries in enumerate(blocks):
        for query in queries:
            scores = [
                call.scale * q[query] @ k[part].mean(0) + torch.tensor(len(part)).log() for part in blocks
            ]
            rank[row] += torch.stack(scores).softmax(0) / len(queries)
    for column, part in enumerate(blocks):
        for x in (k, v):
            rank[:, column] *= (x[part] - x[part].mean(0)).square().sum(-1).mean().sqrt()
    return rank


@layouts
def test_every_row_keeps_the_blocks_of_highest_rank(layout):
    call = make_call(layout, batch=2)
    selection, _ = Sieve(0.5, 16, (CUBE,)).select(call, None)
    keep, blocks = selection.mask.keep, blocks_of(layout)
    text = torch.tensor([bool((~torch.isin(part, torch.arange(*video(layout)))).any()) for part in blocks])
    count = blocks_per_row(0.5, 16, text)
    assert 0 < count < len(blocks)
    for batch, head in ((0, 0), (1, 1)):
        rank = rank_loops(call, batch, head).masked_fill(text, torch.inf)
        for row in range(len(blocks)):
            expected = set(rank[row].topk(count).indices.tolist()) | set(text.nonzero().flatten().tolist())
            expected = set(range(len(blocks))) if text[row] else expected
            assert set(keep[batch, head, row].nonzero().flatten().tolist()) == expected


def video(layout):
    return layout.video.start, layout.video.stop


@layouts
def test_density_one_is_dense_attention(layout):
    call = make_call(layout)
    result = attend_selected(call, Sieve(1.0, 16).select(call, None)[0])
    assert result.mask.density == 1
    torch.testing.assert_close(result.output, scaled_dot_product_attention(call.q, call.k, call.v))
    torch.testing.assert_close(result.answered_lse, result.lse)


@pytest.mark.parametrize("density", [0.2, 0.35, 0.6])
@pytest.mark.parametrize("text", [0, 24])
def test_the_executed_density_is_the_one_asked_for(density, text):
    layout = VideoLayout.of(16, 8, 8, text_last=text)
    call = make_call(layout)
    result = attend_selected(call, Sieve(density).select(call, None)[0])
    executed = float((result.mask.head_density + result.answered_density).mean())
    assert executed == pytest.approx(density, abs=0.5 / 32 + 1e-3)  # half a block of 32 or 33


def test_what_a_centroid_repairs_is_left_to_it():
    """Two blocks of equal mass: the keys of one are all alike, those of the other are not. The other is kept."""
    layout = VideoLayout.of(4, 4, 8)
    call = make_call(layout, heads=1)
    blocks = blocks_of(layout)
    call.q[:] = 1.0
    call.k.mul_(0.05)
    call.k[0, 0, blocks[2]] += 2.0
    call.k[0, 0, blocks[5]] = call.k[0, 0, blocks[2]].mean(0)
    keep = Sieve(0.25, 16, (CUBE,)).select(call, None)[0].mask.keep
    assert keep[0, 0, :, 2].all()
    by_mass = Sieve(0.25, 16, (CUBE,), rank="mass").select(call, None)[0].mask.keep
    assert by_mass[0, 0, :, 5].all()
    assert not keep[0, 0, :, 5].all()
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    call.v[0, 0, blocks[5]] = call.v[0, 0, blocks[5]].mean(0)
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    errors = [
        (attend_selected(call, Sieve(0.25, 16, (CUBE,), rank).select(call, None)[0]).output - dense)
        .abs()
        .mean()
        for rank in ("error", "mass")
    ]
    assert errors[0] < errors[1]


def test_every_head_gets_the_shape_in_which_its_keys_are_alike():
    """Head h has one key and one value a cube of shape h: only in that shape do centroids repair everything."""
    layout, cubes = VideoLayout.of(16, 8, 8), CUBES[32]
    call = make_call(layout, batch=2, heads=len(cubes))
    for head in range(len(cubes)):
        for block in order_of(layout, cubes[head]).split(32):
            for x in (call.k, call.v):
                x[:, head, block] = x[:, head, block[:1]]
    selection, state = Sieve(0.2).select(call, None)
    assert state.shape.tolist() == [list(range(len(cubes)))] * 2
    assert selection.patterns == ("2×4×4", "4×2×4", "4×4×2", "8×2×2", "1×4×8")
    assert torch.equal(selection.pattern, state.shape)
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    torch.testing.assert_close(attend_selected(call, selection).output, dense)


def test_the_shape_is_kept_and_its_blocks_are_chosen_anew():
    layout = VideoLayout.of(16, 8, 8)
    first, second = (make_call(layout, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    method = Sieve(0.2)
    selection, state = method.select(first, None)
    forced = SieveState((state.shape + 1) % 5)
    again, kept = method.select(second, forced)
    assert torch.equal(kept.shape, forced.shape)
    assert torch.equal(
        again.query_order.order[0, 0], cube_orders(layout, CUBES[32], torch.device("cpu"))[kept.shape[0, 0]]
    )
    assert not torch.equal(again.mask.keep, selection.mask.keep)


@layouts
def test_batch_elements_do_not_see_each_other(layout):
    call = make_call(layout, batch=2)
    method = Sieve(0.4, 16, ((2, 2, 4), (4, 2, 2), (1, 4, 4)))
    together, state = method.select(call, None)
    output = attend_selected(call, together).output
    for b in range(2):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), layout)
        single, own = method.select(alone, None)
        assert torch.equal(own.shape, state.shape[b : b + 1])
        torch.testing.assert_close(attend_selected(alone, single).output, output[b : b + 1])


def test_text_sees_and_is_seen_by_all():
    layout = LAYOUTS["odd, text first"]
    call = make_call(layout)
    selection, _ = Sieve(0.2, 16, (CUBE,)).select(call, None)
    result = attend_selected(call, selection)
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    text = slice(0, layout.video.start)
    torch.testing.assert_close(result.output[:, :, text], dense[:, :, text])
    assert not torch.allclose(result.output, dense, atol=1e-3)


def test_the_other_branch_pools_its_own_keys():
    layout = VideoLayout.of(16, 8, 8)
    generator = torch.Generator().manual_seed(7)
    first = make_call(layout, site=Site(0, 1, 3, 9, "cond"))
    second = make_call(layout, site=Site(0, 1, 3, 9, "uncond"), generator=generator)
    selection, _ = Sieve(0.2).select(first, None)
    borrowed = Lent.of(first, selection).to(second)
    assert borrowed.compensate
    assert borrowed.centroids is None
    result = attend_selected(second, borrowed)
    order, side = selection.query_order.index(), 32
    k, v = (x.gather(2, order[..., None].expand(x.shape)) for x in (second.k, second.v))
    means = [x.unflatten(2, (-1, side)).mean(3) for x in (k, v)]
    scores = second.q @ torch.cat([k, means[0]], 2).mT * second.scale
    scores[..., -32:] += torch.tensor(32.0).log()
    rows = selection.mask.keep.repeat_interleave(side, 2)
    kept = torch.cat([rows.repeat_interleave(side, 3), ~rows], -1)
    places = order.argsort(-1)[..., None].expand(*scores.shape)
    weights = scores.masked_fill(~kept.gather(2, places), -torch.inf).softmax(-1)
    torch.testing.assert_close(result.output, weights @ torch.cat([v, means[1]], 2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_run(dtype):
    call = make_call(VideoLayout.of(16, 8, 8), dtype=dtype)
    selection, _ = Sieve(0.3).select(call, None)
    result = attend_selected(call, selection)
    assert result.output.dtype == dtype
    assert result.output.isfinite().all()


def test_a_run_says_what_was_computed_and_what_was_answered():
    run = Run(Recipe(Sieve(0.3), DenseFirst(0, 0), min_tokens=0))
    for step in range(2):
        run.attend(make_call(VideoLayout.of(16, 8, 8), site=Site(0, 1, step, 2)))
    (first, second) = run.trace.records
    assert first.density == second.density == pytest.approx(0.3, abs=0.02)
    for recall, compensated in zip(second.recall, second.compensated, strict=True):
        assert 0 < recall < 1
        assert 0 < compensated <= 1 - recall
    assert set(first.pattern) <= {"2×4×4", "4×2×4", "4×4×2", "8×2×2", "1×4×8"}
    assert first.pattern == second.pattern


def test_without_centroids_nothing_answers():
    call = make_call(VideoLayout.of(16, 8, 8))
    selection, _ = Sieve(0.3, centroids=False).select(call, None)
    assert not selection.compensate
    assert attend_selected(call, selection).answered_lse is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"density": 0.0}, "density"),
        ({"density": 1.2}, "density"),
        ({"block": 0}, "block is a side"),
        ({"cubes": [(4, 4)]}, "has three sides"),
        ({"rank": "best"}, "rank must be 'error' or 'mass'"),
        ({"centroids": 1}, "centroids must be true or false"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        make_method("sieve", **values)
