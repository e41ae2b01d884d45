"""Compensation as an option of any method: what a run computes, counts and says, alone and with other options."""

from dataclasses import replace

import pytest
import torch

from videosieve import Recipe, Run, VideoLayout
from videosieve.errors import ShapeError
from videosieve.forward import Site
from videosieve.lending import Lent
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods import METHODS, Selection, attend_selected, make_method
from videosieve.schedule import Broadcast, DenseFirst
from videosieve.testing.compensation import answers_oracle
from videosieve.testing.factories import make_call, random_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.trace import Trace

LAYOUT = VideoLayout.of(4, 8, 10, text_last=9)
NAMES = sorted(
    name for name in set(METHODS) - {"dense", "window_residual"} if not METHODS[name].keeps_columns
)


def call_of(step=0, branch="cond", seed=0, layout=LAYOUT):
    return make_call(
        layout, batch=2, site=Site(0, 1, step, 6, branch), generator=torch.Generator().manual_seed(seed)
    )


def expected(call, selection, causal=False):
    """fp64: every block left out as one key of its mean, ln n added to its score."""
    mask = selection.mask
    tensors = [x.double() for x in (call.q, call.k, call.v)]
    orders = (selection.query_order, selection.key_order, selection.key_order)
    q, k, v = (order.apply(x) if order else x for order, x in zip(orders, tensors, strict=True))
    keep = pairs_oracle(mask).expand(2, 2, -1, -1)
    if isinstance(mask, BlockMask):
        owner = (torch.arange(mask.keys) // mask.block.key).expand(2, 2, -1)
    else:
        owner = torch.searchsorted(
            mask.key_offsets[..., 1:].contiguous().expand(2, 2, -1).contiguous(),
            torch.arange(mask.keys).expand(2, 2, -1).contiguous(),
            right=True,
        )
    member = torch.nn.functional.one_hot(owner, mask.keep.shape[3]).double().mT  # of every column, its keys
    sizes = member.sum(-1, keepdim=True)
    means = [member @ x / sizes.clamp(min=1) for x in (k, v)]
    rough = q @ means[0].mT * call.scale + sizes.log().mT
    left_out = ~mask.keep.tril() if causal else ~mask.keep
    answers = answers_oracle(mask, left_out).expand(2, 2, -1, -1)
    if causal:
        rows, columns = torch.arange(mask.queries) // mask.block.query, torch.arange(mask.keep.shape[3])
        answers = answers & (columns < rows[:, None])
        diagonal = rows[:, None] == rows
        keep = (keep & (rows < rows[:, None])) | (diagonal & torch.ones_like(keep[0, 0]).tril())
    scores = torch.cat(
        [(q @ k.mT * call.scale).masked_fill(~keep, -torch.inf), rough.masked_fill(~answers, -torch.inf)], -1
    )
    output = scores.softmax(-1) @ torch.cat([v, means[1]], 2)
    return selection.query_order.undo(output) if selection.query_order else output


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_compensated_in_the_order_that_it_executes(name):
    call = call_of(step=3)
    method = make_method(name)
    selection, state = method.select(call, None)
    if name == "adaspa":  # its first search computes everything
        selection, _ = method.select(call, method.observe(call, attend_selected(call, selection), state))
    selection = replace(selection, compensate=True, centroids=None)
    result = attend_selected(call, selection)
    torch.testing.assert_close(result.output.double(), expected(call, selection), atol=2e-5, rtol=1e-4)
    assert result.answered_density is not None
    plain = attend_selected(call, replace(selection, compensate=False))
    torch.testing.assert_close(result.lse, plain.lse)  # recall is that of what is computed


def test_single_keys_beside_the_blocks_are_not_answered_for_once_more():
    call, method = call_of(), make_method("minference_causal")
    selection, _ = method.select(call, None)
    with pytest.raises(ShapeError, match="would be counted twice"):
        attend_selected(call, replace(selection, compensate=True))


@pytest.mark.parametrize("side", [16, 64])
def test_causal_attention_is_answered_by_the_past_alone(side):
    call = call_of(layout=VideoLayout.of(3, 5, 15))
    mask = random_mask(225, 225, BlockSize(side, side), 0.3, batch=2, heads=2)
    selection = Selection(mask, causal=True, compensate=True)
    result = attend_selected(call, selection)
    torch.testing.assert_close(
        result.output.double(), expected(call, selection, causal=True), atol=2e-5, rtol=1e-4
    )
    ahead = call_of(layout=VideoLayout.of(3, 5, 15))
    ahead.k[:, :, 200:], ahead.v[:, :, 200:] = 9.0, 9.0
    again = attend_selected(ahead, selection)
    torch.testing.assert_close(again.output[:, :, :192], result.output[:, :, :192])


def test_full_density_is_bit_equal():
    call = call_of()
    mask = BlockMask.dense(LAYOUT.tokens, BlockSize(16, 16))
    plain, answered = (attend_selected(call, Selection(mask, compensate=flag)) for flag in (False, True))
    assert torch.equal(plain.output, answered.output)
    assert torch.equal(answered.lse, answered.answered_lse)


def compensated_run(name, **options):
    recipe = Recipe.of(name, dense_steps=0, dense_layers=0, min_tokens=0, **options)
    return Run(replace(recipe, schedule=DenseFirst(0, 0)))


def test_a_run_counts_centroids_and_says_their_mass(tmp_path):
    plain, answered = (
        compensated_run("svg", density=0.4, block=16, compensate=c) for c in ("none", "centroids")
    )
    outputs = [run.attend(call_of()) for run in (plain, answered)]
    (before,), (after,) = plain.trace.records, answered.trace.records
    assert not torch.equal(*outputs)
    assert after.recall == before.recall
    assert before.compensated == []
    assert before.density < after.density < before.density + 1 / 16
    assert all(0 < c <= 1 - r for c, r in zip(after.compensated, after.recall, strict=True))
    assert answered.summary().compensated == pytest.approx(sum(after.compensated) / 2)
    assert "means answered for" in str(answered.summary())
    answered.trace.save(tmp_path / "trace.jsonl")
    assert Trace.load(tmp_path / "trace.jsonl").records == answered.trace.records


def test_compensated_mass_is_what_it_is_called():
    run = compensated_run("random_blocks", density=0.3, block=16, compensate="centroids")
    run._recall_rows = LAYOUT.tokens
    call = call_of()
    run.attend(call)
    selection, _ = run.recipe.method.select(call, None)
    result = attend_selected(call, replace(selection, compensate=True))
    everything = (call.q.double() @ call.k.double().mT * call.scale).logsumexp(-1)
    kept, both = ((lse.double() - everything).exp() for lse in (result.lse, result.answered_lse))
    (record,) = run.trace.records
    assert record.recall == pytest.approx(kept.mean((0, 2)).tolist(), abs=1e-5)
    assert record.compensated == pytest.approx((both - kept).mean((0, 2)).tolist(), abs=1e-5)


def test_a_borrowed_selection_pools_the_keys_of_its_own_call():
    first, second = call_of(), call_of(branch="uncond", seed=5)
    selection, _ = make_method("xattention", threshold=0.3, stride=8).select(first, None)
    selection = replace(selection, compensate=True)
    attend_selected(first, selection)
    borrowed = Lent.of(first, selection).to(second)
    torch.testing.assert_close(
        attend_selected(second, borrowed).output.double(), expected(second, selection), atol=2e-5, rtol=1e-4
    )


def test_shared_selections_are_compensated_in_both_branches():
    run = compensated_run("xattention", threshold=0.3, shared_selection=True, compensate="centroids")
    for branch, seed in (("cond", 0), ("uncond", 5)):
        run.attend(call_of(branch=branch, seed=seed))
    first, second = run.trace.records
    assert second.source == (0, "cond")
    assert first.density == pytest.approx(second.density)
    assert all(value > 0 for value in (*first.compensated, *second.compensated))


def test_adaspa_never_learns_the_compensated_lse():
    run = compensated_run("adaspa", density=0.2, search_steps=(2,), compensate="centroids")
    for step in range(2):
        run.attend(call_of(step=step))
    ((_, state),) = run.states().items()
    call = call_of()
    torch.testing.assert_close(
        state.lse, (call.q @ call.k.mT * call.scale).logsumexp(-1), atol=1e-5, rtol=1e-5
    )


def test_a_reusing_schedule_takes_compensated_steps():
    recipe = Recipe.of("svg", density=0.4, block=16, min_tokens=0, compensate="centroids", reuse_range=2)
    assert isinstance(recipe.schedule, Broadcast) or recipe.schedule.reused_kinds
    assert Recipe.from_toml(recipe.to_toml()) == recipe
