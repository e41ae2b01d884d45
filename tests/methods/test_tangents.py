"""Tangents for what causal attention leaves out: the formula query by query in fp64, its limits, what a run says."""

from dataclasses import replace

import pytest
import torch

from videosieve import Recipe, Run, VideoLayout
from videosieve.call import AttentionCall
from videosieve.errors import RecipeError, ShapeError
from videosieve.forward import Site
from videosieve.kernels.native_library import refuse_library
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.method_rules import require_both_ways
from videosieve.methods import Selection, attend_selected, make_method, tangents
from videosieve.methods.causal import causal_mask
from videosieve.methods.tangents import left_out_before
from videosieve.schedule import DenseFirst
from videosieve.testing.oracles import pairs_oracle

BACKENDS = ["reference", "cpu"] + (["native"] if refuse_library() is None else [])


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch):
    """Several stretches and several parts of rows in a few hundred tokens."""
    monkeypatch.setattr(tangents, "STRETCH", 48)
    monkeypatch.setattr(tangents, "ROWS", 3)


def call_of(queries, keys, heads=4, key_heads=2, dtype=torch.float32, seed=0):
    source = torch.Generator().manual_seed(seed)
    q = torch.randn(2, heads, queries, 16, generator=source)
    k, v = (torch.randn(2, key_heads, keys, 16, generator=source) for _ in range(2))
    q, k, v = (x.to(dtype) for x in (q, k, v))
    return AttentionCall(q, k, v, VideoLayout.sequence(keys), Site(), 0.4)


def selection_of(call, block, density=0.3, seed=1):
    rows, columns = -(-call.tokens // block.query), -(-call.keys // block.key)
    draw = torch.rand(2, call.heads, rows, columns, generator=torch.Generator().manual_seed(seed))
    mask = BlockMask(draw < density, block, call.tokens, call.keys, causal=True)
    return Selection(mask, causal=True, tangents=True)


def expected(call, selection):
    """Output and LSE, one query after another, as the formula says them."""
    mask = causal_mask(selection.mask)
    groups = call.heads // call.k.shape[1]
    q, k, v = call.q.double(), *(x.double().repeat_interleave(groups, 1) for x in (call.k, call.v))
    seen = pairs_oracle(mask)
    stretch = max(48 // mask.block.key, 1) * mask.block.key
    output, lse = torch.zeros_like(q), q.new_zeros(q.shape[:3])
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        first = i // mask.block.query * mask.block.query
        scores, values = q[b, h, i] @ k[b, h].T * call.scale, v[b, h]
        parts, answers = [scores[seen[b, h, i]]], [values[seen[b, h, i]]]
        # Left out: what the first query of the block may see and the block does not keep.
        missed = ~mask.keep[b, h, i // mask.block.query].repeat_interleave(mask.block.key)[: call.keys]
        missed &= torch.arange(call.keys) <= first + call.ahead
        for start in range(0, call.keys, stretch):
            there = missed & (torch.arange(call.keys) // stretch == start // stretch)
            if there.any():
                at_first = q[b, h, first] @ k[b, h, there].T * call.scale
                weights = at_first.softmax(-1)
                slope = (q[b, h, i] - q[b, h, first]) @ (weights @ k[b, h, there]) * call.scale
                parts.append((at_first.logsumexp(-1) + slope)[None])
                answers.append((weights @ values[there])[None])
        together = torch.cat(parts)
        output[b, h, i], lse[b, h, i] = together.softmax(-1) @ torch.cat(answers), together.logsumexp(-1)
    return output, lse


def dense(call):
    groups = call.heads // call.k.shape[1]
    k, v = (x.double().repeat_interleave(groups, 1) for x in (call.k, call.v))
    ahead = torch.arange(call.keys) > torch.arange(call.tokens)[:, None] + call.ahead
    scores = (call.q.double() @ k.mT * call.scale).masked_fill(ahead, -torch.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


SHAPES = [
    (200, 200, 16, 16),
    (75, 75, 16, 16),
    (64, 200, 16, 16),
    (50, 203, 16, 16),
    (120, 120, 32, 8),
    (70, 90, 8, 64),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_query_takes_the_tangents_of_the_first_of_its_block(shape, backend):
    queries, keys, *sides = shape
    call = call_of(queries, keys)
    selection = selection_of(call, BlockSize(*sides))
    result = attend_selected(call, selection, backend)
    output, lse = expected(call, selection)
    torch.testing.assert_close(result.output.double(), output, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(result.answered_lse.double(), lse, atol=2e-5, rtol=1e-5)
    plain = attend_selected(call, replace(selection, tangents=False), backend)
    assert torch.equal(result.lse, plain.lse)  # recall is that of what is computed
    assert not torch.allclose(result.output, plain.output)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_precisions(dtype):
    call = call_of(130, 130, dtype=dtype)
    selection = selection_of(call, BlockSize(16, 16))
    result = attend_selected(call, selection)
    assert result.output.dtype == dtype
    output, _ = expected(call, selection)
    # Two roundings of the output, to values of at most the largest of v, and those of the kernel's weights.
    slack = 4 * torch.finfo(dtype).eps * float(call.v.abs().max()) if dtype != torch.float64 else 1e-12
    assert (result.output.double() - output).abs().max() <= slack


def test_the_first_query_of_a_block_gets_full_attention_and_no_other_gets_more_mass():
    """log Σ exp is convex: tangents touch it at the first query and lie below it elsewhere."""
    call = call_of(200, 232)
    result = attend_selected(call, selection_of(call, BlockSize(16, 16)))
    output, lse = dense(call)
    torch.testing.assert_close(result.output[:, :, ::16].double(), output[:, :, ::16], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(
        result.answered_lse[:, :, ::16].double(), lse[:, :, ::16], atol=2e-5, rtol=1e-5
    )
    assert (result.answered_lse <= lse + 1e-5).all()
    assert (result.answered_lse >= result.lse).all()


def test_rows_that_leave_nothing_out_stay_as_they_were_bit_by_bit():
    call = call_of(200, 200)
    selection = selection_of(call, BlockSize(16, 16))
    selection.mask.keep[:, :, 7] = True
    plain, answered = (attend_selected(call, replace(selection, tangents=flag)) for flag in (False, True))
    assert torch.equal(plain.output[:, :, 112:128], answered.output[:, :, 112:128])
    assert torch.equal(plain.lse[:, :, 112:128], answered.answered_lse[:, :, 112:128])
    whole = Selection(BlockMask.dense(200, BlockSize(16, 16), causal=True), causal=True)
    plain, answered = (attend_selected(call, replace(whole, tangents=flag)) for flag in (False, True))
    assert torch.equal(plain.output, answered.output)
    assert float(answered.answered_density.max()) == 0


def test_no_query_hears_of_a_later_token():
    call = call_of(200, 200)
    selection = selection_of(call, BlockSize(16, 16))
    before = attend_selected(call, selection).output
    for tensor in (call.q, call.k, call.v):
        tensor[:, :, 120:] = 3.0  # in the middle of a block
    after = attend_selected(call, selection).output
    torch.testing.assert_close(after[:, :, :120], before[:, :, :120])


def test_chunks_of_whole_blocks_and_single_batch_items_answer_as_the_whole_does():
    call = call_of(192, 192)
    selection = selection_of(call, BlockSize(16, 16))
    whole = attend_selected(call, selection).output
    for begin, end in ((0, 64), (64, 160), (160, 192)):
        some = AttentionCall(
            call.q[:, :, begin:end],
            call.k[:, :, :end],
            call.v[:, :, :end],
            VideoLayout.sequence(end),
            Site(),
            0.4,
        )
        keep = selection.mask.keep[:, :, begin // 16 : end // 16, : end // 16]
        mask = BlockMask(keep, BlockSize(16, 16), end - begin, end, causal=True)
        part = attend_selected(some, replace(selection, mask=mask)).output
        torch.testing.assert_close(part, whole[:, :, begin:end], atol=1e-5, rtol=1e-5)
    one = AttentionCall(call.q[1:], call.k[1:], call.v[1:], call.layout, Site(), 0.4)
    mask = replace(selection.mask, keep=selection.mask.keep[1:])
    torch.testing.assert_close(attend_selected(one, replace(selection, mask=mask)).output, whole[1:])


def test_scores_far_from_zero_do_not_overflow():
    call = call_of(130, 130)
    call.q.mul_(60)
    result = attend_selected(call, selection_of(call, BlockSize(16, 16)))
    assert result.output.isfinite().all()
    assert (result.answered_lse <= dense(call)[1] + 1e-2).all()


def test_the_density_counts_one_query_of_a_block_and_a_key_for_every_stretch():
    call = call_of(100, 100)
    selection = selection_of(call, BlockSize(16, 16))
    result = attend_selected(call, selection)
    mask = causal_mask(selection.mask)
    left_out = left_out_before(mask)
    assert torch.equal(left_out, ~mask.keep & torch.ones(7, 7, dtype=torch.bool).tril(-1))
    count = torch.zeros(2, 4)
    for b, h, row in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(7)).tolist():
        blocks = left_out[b, h, row].nonzero().flatten().tolist()
        count[b, h] += 16 * len(blocks) + len({block // 3 for block in blocks}) * (16 if row < 6 else 4)
    assert torch.equal(result.answered_density, count.double() / 5050)


def run_of(**options):
    method = replace(make_method("xattention", threshold=0.5, stride=8, block=16), causal=True)
    return Run(Recipe(method, DenseFirst(0, 0), min_tokens=0, **options))


def test_a_run_counts_tangents_and_says_their_mass():
    call = call_of(200, 200)
    plain, answered = (run_of(compensate=kind) for kind in ("none", "tangents"))
    outputs = [run.attend(call) for run in (plain, answered)]
    (before,), (after,) = plain.trace.records, answered.trace.records
    exact = dense(call)[0]
    errors = [float((output - exact).abs().mean()) for output in outputs]
    assert errors[1] < errors[0]
    assert after.recall == before.recall
    assert before.density < after.density < before.density + 1 / 16 + 1 / 8
    assert all(0 < c <= 1 - r for c, r in zip(after.compensated, after.recall, strict=True))
    assert "means answered for" in str(answered.summary())


def test_tangents_are_for_causal_attention_alone():
    call = call_of(100, 100, key_heads=4)
    both_ways = Selection(BlockMask.dense(100, BlockSize(16, 16)), tangents=True)
    with pytest.raises(ShapeError, match="not causal; centroids answer in both ways"):
        attend_selected(call, both_ways)
    columns = torch.zeros(2, 4, 1, dtype=torch.long)
    with_columns = replace(selection_of(call, BlockSize(16, 16)), columns=columns)
    with pytest.raises(ShapeError, match="counted twice"):
        attend_selected(call, with_columns)
    with pytest.raises(RecipeError, match="'svg' is never causal; take compensate='centroids'"):
        Recipe.of("svg", compensate="tangents")
    with pytest.raises(RecipeError, match="single keys"):
        Recipe.of("minference_causal", compensate="tangents")
    with pytest.raises(RecipeError, match="video transformers attend both ways"):
        require_both_ways(make_method("xattention"), "tangents")


def test_a_recipe_keeps_them(tmp_path):
    run_of(compensate="tangents").recipe.save(tmp_path / "mine.toml")
    assert Recipe.of(tmp_path / "mine.toml").compensate == "tangents"
