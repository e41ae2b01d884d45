"""sieve: the result in fp64, the dense limit, planted keys and directions, invariances, states, memory, refusals."""

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, Run, VideoLayout
from videosieve.forward import Site
from videosieve.kernels import block_sparse_attention
from videosieve.lending import Lent
from videosieve.methods import attend_selected, make_method
from videosieve.methods.sieve import MOST_ROWS, Sieve
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(4, 4, 8),
    "odd, text last": VideoLayout.of(5, 3, 7, text_last=9),
    "odd, text first": VideoLayout.of(5, 3, 7, text_first=21),
    "text on both sides": VideoLayout.of(3, 5, 7, text_first=4, extra_last=3),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def compensated_loops(call, selection, batch, head):
    """The executed selection in fp64: kept tokens one by one, other clusters as n equal keys, in one softmax."""
    q, k, v = (x[batch, head].double() for x in (call.q, call.k, call.v))
    mask = selection.mask
    query_order, key_order = (x.index()[batch, head] for x in (selection.query_order, selection.key_order))
    rows, columns = (
        [part for part in order.tensor_split(offsets[batch, head, 1:-1].tolist())]
        for order, offsets in ((query_order, mask.query_offsets), (key_order, mask.key_offsets))
    )
    output = torch.zeros_like(q)
    for row, queries in enumerate(rows):
        kept = [part for column, part in enumerate(columns) if mask.keep[batch, head, row, column]]
        others = [p for c, p in enumerate(columns) if not mask.keep[batch, head, row, c] and len(p)]
        keys = torch.cat([k[torch.cat(kept)], *(k[part].mean(0, keepdim=True) for part in others)])
        values = torch.cat([v[torch.cat(kept)], *(v[part].mean(0, keepdim=True) for part in others)])
        sizes = [1.0] * sum(map(len, kept)) + [float(len(part)) for part in others]
        scores = q[queries] @ keys.T * call.scale + torch.tensor(sizes, dtype=torch.float64).log()
        output[queries] = scores.softmax(-1) @ values
    return output


@layouts
@pytest.mark.parametrize("density", [0.3, 0.6])
def test_the_output_is_one_softmax_over_kept_keys_and_centroids(layout, density):
    call = make_call(layout, batch=2)
    selection, _ = Sieve(density, 16).select(call, None)
    output = attend_selected(call, selection).output
    for batch, head in ((0, 0), (1, 1)):
        expected = compensated_loops(call, selection, batch, head)
        torch.testing.assert_close(output[batch, head].double(), expected, atol=1e-5, rtol=1e-4)


@layouts
def test_density_one_is_dense_attention_bit_by_bit(layout):
    call = make_call(layout)
    selection, _ = Sieve(1.0, 16).select(call, None)
    result = attend_selected(call, selection)
    assert bool(selection.mask.keep.all())
    orders = {"query_order": selection.query_order.index(), "key_order": selection.key_order.index()}
    alone, _ = block_sparse_attention(call.q, call.k, call.v, selection.mask, scale=call.scale, **orders)
    assert torch.equal(result.output, alone)
    torch.testing.assert_close(result.output, scaled_dot_product_attention(call.q, call.k, call.v))
    torch.testing.assert_close(result.answered_lse, result.lse)


@pytest.mark.parametrize("density", [0.2, 0.35, 0.6])
@pytest.mark.parametrize("text", [0, 24])
def test_the_executed_density_is_the_one_asked_for(density, text):
    call = make_call(VideoLayout.of(16, 8, 8, text_last=text), heads=3)
    result = attend_selected(call, Sieve(density).select(call, None)[0])
    executed = result.mask.head_density + result.answered_density
    # Never above, and below by less than the pair of clusters that did not fit.
    sizes = result.mask.query_sizes.amax(-1) * result.mask.key_sizes[..., :64].amax(-1)
    assert bool((executed <= density + 1e-9).all())
    assert bool((executed > density - sizes / call.tokens**2 - 1e-9).all())


def test_keys_that_are_equal_are_left_to_their_centroids():
    """A third of the keys are one key with one value: however heavy, they are answered for, and without error."""
    layout = VideoLayout.of(6, 4, 8)
    call = make_call(layout, heads=1)
    call.q[:] += 1.0
    heavy = torch.arange(0, 192, 3)
    call.k[0, 0, heavy], call.v[0, 0, heavy] = 1.5, call.v[0, 0, 0].clone()
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    errors, kept = {}, {}
    for rank in ("error", "mass"):
        selection, _ = Sieve(0.5, 16, rank=rank).select(call, None)
        place = selection.key_order.index()[0, 0]
        tokens = selection.mask.rows(torch.arange(192))[0, 0]
        kept[rank] = tokens[:, torch.isin(place, heavy)].float().mean()
        errors[rank] = (attend_selected(call, selection).output - dense).abs().mean()
    assert kept["error"] < 0.1 < 0.5 < kept["mass"]
    assert errors["error"] < errors["mass"] / 2


def test_clusters_are_of_what_scores_tell_apart():
    """Keys differ most where no query looks: tokens are clustered by that, scores are not."""
    layout = VideoLayout.of(8, 8, 8)
    call = make_call(layout, heads=1, head_dim=16)
    call.q[..., 2:] *= 0.01
    call.k[..., 2:] *= 10.0
    call.q[..., :2] *= 4.0
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    error = {}
    for space in ("scores", "tokens"):
        selection, _ = Sieve(0.3, 16, space=space).select(call, None)
        error[space] = (attend_selected(call, selection).output - dense).abs().mean()
    assert error["scores"] < error["tokens"] / 2


def test_a_later_step_begins_where_the_clusters_ended():
    layout = VideoLayout.of(16, 8, 8)
    first, second = (make_call(layout, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    method = Sieve(0.2)
    _, state = method.select(first, None)
    _, after = method.select(second, state)
    assert after.space is state.space
    assert after.queries.shape == (1, 2, 32, 16)
    assert after.keys.shape == (1, 2, 64, 16)
    again, other = method.select(second, None)[1], method.select(second, after)[1]
    assert not torch.equal(again.keys, other.keys)
    # Where k-means stands still, a further step changes nothing.
    for _ in range(40):
        selection, other = method.select(second, other)
    last, end = method.select(second, other)
    assert torch.equal(last.mask.keep, selection.mask.keep)
    torch.testing.assert_close(end.keys, other.keys)


def test_a_space_is_made_anew_after_three_steps():
    call = make_call(VideoLayout.of(16, 8, 8))
    states, state = [], None
    for _ in range(7):
        states.append(state := Sieve(0.2).select(call, state)[1])
    assert [state.steps for state in states] == [1, 2, 3, 1, 2, 3, 1]
    assert states[2].space is states[0].space
    assert states[3].space is not states[2].space


@layouts
def test_batch_elements_do_not_see_each_other(layout):
    call = make_call(layout, batch=2)
    method = Sieve(0.4, 16)
    together, state = method.select(call, None)
    output = attend_selected(call, together).output
    for b in range(2):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), layout)
        single, own = method.select(alone, None)
        torch.testing.assert_close(own.keys, state.keys[b : b + 1])
        assert torch.equal(single.mask.keep[0], together.mask.keep[b])
        torch.testing.assert_close(attend_selected(alone, single).output, output[b : b + 1])


def test_heads_are_the_same_whichever_others_are_here():
    layout = VideoLayout.of(5, 5, 6, text_last=3)
    call = make_call(layout, heads=4, site=Site(0, 1, 3, 9))
    whole = attend_selected(call, Sieve(0.4, 16).select(call, None)[0]).output
    site = Site(0, 1, 3, 9, heads=4, head_numbers=(3, 1))
    part = AttentionCall(*(x[:, [3, 1]] for x in (call.q, call.k, call.v)), layout, site)
    torch.testing.assert_close(
        attend_selected(part, Sieve(0.4, 16).select(part, None)[0]).output, whole[:, [3, 1]]
    )


def test_text_sees_and_is_seen_by_all():
    layout = LAYOUTS["odd, text first"]
    call = make_call(layout)
    selection, _ = Sieve(0.4, 16).select(call, None)
    result = attend_selected(call, selection)
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    text = slice(0, layout.video.start)
    torch.testing.assert_close(result.output[:, :, text], dense[:, :, text])
    assert not torch.allclose(result.output, dense, atol=1e-3)
    assert bool(selection.mask.keep[..., -1].all())


def test_the_other_branch_pools_its_own_keys():
    layout = VideoLayout.of(16, 8, 8)
    generator = torch.Generator().manual_seed(7)
    first = make_call(layout, site=Site(0, 1, 3, 9, "cond"))
    second = make_call(layout, site=Site(0, 1, 3, 9, "uncond"), generator=generator)
    selection, _ = Sieve(0.2).select(first, None)
    borrowed = Lent.of(first, selection).to(second)
    assert borrowed.compensate
    assert borrowed.centroids is None
    expected = compensated_loops(second, selection, 0, 1)
    output = attend_selected(second, borrowed).output[0, 1].double()
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_run(dtype):
    call = make_call(VideoLayout.of(16, 8, 8, text_last=5), dtype=dtype)
    selection, state = Sieve(0.3).select(call, None)
    result = attend_selected(call, selection)
    assert result.output.dtype == dtype
    assert result.output.isfinite().all()
    assert state.space.keys.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e18, float("nan"), float("inf")])
def test_keys_that_are_all_the_same_or_no_numbers_make_no_error_here(value):
    call = make_call(LAYOUTS["odd, text last"])
    call.k[:, 0] = value
    selection, state = Sieve(0.4, 16).select(call, None)
    assert bool(selection.mask.keep.any(-1).all())
    _, later = Sieve(0.4, 16).select(call, state)
    output = attend_selected(call, selection).output
    assert output[:, 1].isfinite().all()
    assert later.keys[:, 1].isfinite().all()
    if value in (0.0, 3.0):
        torch.testing.assert_close(output[:, 0], call.v[:, 0].mean(1, keepdim=True).expand_as(output[:, 0]))


def test_a_long_video_has_no_more_clusters_than_kernels_fill():
    assert Sieve()._side(1_024) == 32
    assert Sieve()._side(4_096) == 64
    assert Sieve()._side(20_000) == 128
    assert 118_800 / Sieve()._side(118_800) <= MOST_ROWS
    assert Sieve(block=48)._side(118_800) == 48


def test_memory_grows_with_tokens():
    """24,576 tokens, whose scores would take 2.25 GiB a head: two selections stay within half a GiB."""
    program = """
import torch
from videosieve import VideoLayout
from videosieve.methods.sieve import Sieve
from videosieve.testing.factories import make_call
from videosieve.testing.peak import peak_resident_gib
torch.set_grad_enabled(False)
call = make_call(VideoLayout.of(24, 32, 32), heads=1)
before = peak_resident_gib()
_, state = Sieve().select(call, None)
Sieve().select(call, state)
print(peak_resident_gib() - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.5


def test_a_run_says_what_was_computed_and_what_was_answered():
    run = Run(Recipe(Sieve(0.3), DenseFirst(0, 0), min_tokens=0))
    for step in range(2):
        run.attend(make_call(VideoLayout.of(16, 8, 8), site=Site(0, 1, step, 2)))
    (first, second) = run.trace.records
    assert [first.density, second.density] == pytest.approx([0.3, 0.3], abs=0.01)
    for recall, compensated in zip(second.recall, second.compensated, strict=True):
        assert 0 < recall < 1
        assert 0 < compensated <= 1 - recall


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
        ({"space": "values"}, "space must be 'scores' or 'tokens'"),
        ({"rank": "best"}, "rank must be 'error' or 'mass'"),
        ({"centroids": 1}, "centroids must be true or false"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        make_method("sieve", **values)
