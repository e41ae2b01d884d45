"""XAttention: Algorithm 1 as loops, the dense limit, planted blocks, padding and chunk edges, invariances, refusals."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.kernels import antidiagonal_mass as mass_of
from videosieve.kernels.antidiagonal_mass import IMPLEMENTATIONS
from videosieve.methods import XAttention, attend_selected
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.searches.xattention import (
    LEAST_THRESHOLD,
    XAttentionProfile,
    fit_thresholds,
    thresholds,
)
from videosieve.methods.selection import top_p
from videosieve.testing.factories import ODD_LAYOUT, make_call

LAYOUTS = {
    "odd": ODD_LAYOUT,
    "text last": VideoLayout.of(4, 4, 5, text_last=9),
    "whole cells": VideoLayout.of(2, 6, 8),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["all keys", "causal"])


def antidiagonal_mass(call, stride, side, causal=False, backend=None):
    return mass_of(call.q, call.k, stride, side, scale=call.scale, causal=causal, backend=backend)


def mass_by_loops(call, batch, head, stride, side, causal):
    """Algorithm 1 of the paper, pair by pair; partial cells count the pairs and keys they have."""
    q, k, tokens = call.q[batch, head].double(), call.k[batch, head].double(), call.tokens
    cells = -(-tokens // stride)
    scores = [[-math.inf] * cells for _ in range(cells)]
    for i in range(cells):
        for j in range(i + 1 if causal else cells):
            meet = [(i * stride + stride - 1 - s, j * stride + s) for s in range(stride)]
            meet = [(a, b) for a, b in meet if a < tokens and b < tokens]
            keys = min(stride, tokens - j * stride)
            if i == j == cells - 1 and tokens % stride:
                inside = range(i * stride, tokens)
                meet = [(a, b) for a in inside for b in inside]
            mean = sum(float(q[a] @ k[b]) for a, b in meet) / len(meet)
            scores[i][j] = mean * call.scale + math.log(keys / stride)
    blocks = -(-tokens // side)
    mass = [[0.0] * blocks for _ in range(blocks)]
    for i, row in enumerate(scores):
        queries = min(stride, tokens - i * stride)
        total = sum(math.exp(score) for score in row)
        for j, score in enumerate(row):
            mass[i * stride // side][j * stride // side] += math.exp(score) / total * queries / stride
    return torch.tensor(mass)


@layouts
@CAUSAL
@pytest.mark.parametrize(("stride", "side"), [(4, 16), (8, 16), (16, 32)])
def test_the_mass_is_algorithm_1(layout, causal, stride, side):
    call = make_call(layout, heads=1)
    expected = mass_by_loops(call, 0, 0, stride, side, causal)
    for implementation in IMPLEMENTATIONS:
        if implementation.refuse(call.q, call.k, stride, side, call.scale, causal) is None:
            mass = antidiagonal_mass(call, stride, side, causal, implementation.name)
            torch.testing.assert_close(mass[0, 0], expected)


@layouts
@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_the_fewest_blocks_that_hold_the_threshold_are_kept(layout, threshold):
    call = make_call(layout, batch=2, heads=3)
    keep = XAttention(threshold, stride=4, block=16).select(call, None)[0].mask.keep
    for batch, head in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        mass = mass_by_loops(call, batch, head, 4, 16, False)
        for row in range(len(mass)):
            ranked, held, expected = mass[row].argsort(descending=True).tolist(), 0.0, set()
            for block in ranked:
                if held >= threshold * float(mass[row].sum()):
                    break
                expected.add(block)
                held += float(mass[row, block])
            assert expected == set(keep[batch, head, row].nonzero().flatten().tolist())


@layouts
@CAUSAL
def test_keeping_all_mass_is_dense_attention(layout, causal):
    call = make_call(layout)
    result = videosieve.attention(
        call.q, call.k, call.v, layout, "xattention", threshold=1.0, causal=causal, block=16
    )
    expected = scaled_dot_product_attention(call.q, call.k, call.v, is_causal=causal)
    torch.testing.assert_close(result.output, expected)


def test_the_planted_block_is_the_one_kept():
    call = make_call()
    call.q[:, :, 16:32] = call.k[:, :, 48:64] = 4.0  # query block 1 attends to key block 3
    keep = XAttention(threshold=0.5, stride=4, block=16).select(call, None)[0].mask.keep
    assert keep[0, 0, 1].tolist() == [False, False, False, True, False]


def test_any_line_through_a_block_is_found():
    """Every column and every diagonal crosses the antidiagonals: one of each in eight is enough to be seen."""
    call = make_call(VideoLayout.of(1, 16, 16), heads=1, head_dim=64)
    for x in (call.q, call.k):
        x.mul_(0.1)
    key = torch.randn(64, generator=torch.Generator().manual_seed(3))
    call.k[:, :, 141] = 6 * key / key.norm()
    call.q[:, :, :64] += 20 * key / key.norm()
    keep = XAttention(threshold=0.3, stride=8, block=64).select(call, None)[0].mask.keep
    assert keep[0, 0, 0].tolist() == [False, False, True, False]


def test_keys_past_the_end_have_no_mass():
    """All real keys score low: zeros in their place, as the authors' code pads, would win every row."""
    call = make_call(VideoLayout.of(1, 5, 13), heads=1)  # 65 tokens: one token in the last block
    call.q[:], call.k[:] = 3.0, -3.0
    mass = antidiagonal_mass(call, 8, 16)[0, 0]
    share = mass / mass.sum(-1, keepdim=True)
    expected = torch.tensor([16.0, 16, 16, 16, 1]) / 65
    torch.testing.assert_close(share, expected.expand(5, 5))


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, torch.nan])
def test_constant_and_nan_inputs_give_a_selection_without_empty_rows(value):
    call = make_call(dtype=torch.float32)
    call.q.fill_(value)
    selection, _ = XAttention(0.5, stride=4, block=16).select(call, None)
    assert selection.mask.keep.any(-1).all()
    if not math.isnan(value):
        assert attend_selected(call, selection).output.isfinite().all()


def test_thresholds_differ_by_layer_and_head():
    table = ((0.9, 0.9), (0.2, 1.0))
    method = XAttention(stride=4, block=16, head_thresholds=table)
    call = make_call(site=Site(1, 2))
    keep = method.select(call, None)[0].mask.keep
    low = XAttention(0.2, stride=4, block=16).select(call, None)[0].mask.keep
    assert torch.equal(keep[:, 0], low[:, 0])
    assert keep[:, 1].all()
    with pytest.raises(
        RecipeError, match="each of 3 layers and one entry for each of 2 heads, got 2 rows of 2"
    ):
        method.select(make_call(site=Site(1, 3)), None)


def test_a_table_survives_the_recipe_file():
    recipe = Recipe(XAttention(head_thresholds=((0.9, 0.8), (0.7, 1.0))))
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize("recall", [0.3, 0.7, 0.95])
def test_fitted_thresholds_are_the_smallest_that_keep_the_recall(recall):
    call = make_call(batch=2, heads=3)
    estimate, exact = antidiagonal_mass(call, 4, 16), exact_mass(call, 16)
    fitted = fit_thresholds(estimate, exact, recall)

    def kept(threshold):
        keep = top_p(estimate, threshold.unsqueeze(-1))
        return (exact * keep).sum((-1, -2)) / exact.sum((-1, -2))

    assert (kept(fitted) >= recall - 1e-6).all()
    assert (kept(fitted - 2 * LEAST_THRESHOLD) < recall).all()


def test_a_perfect_estimate_needs_about_the_recall_as_threshold():
    exact = torch.rand(1, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    exact /= exact.sum(-1, keepdim=True)
    assert (fit_thresholds(exact, exact, 0.8) - 0.8).abs().max() < 0.05


def test_a_profiled_run_stays_dense_and_yields_a_table_for_the_method():
    run = Run(Recipe(XAttentionProfile(0.8, stride=4, block=16), DenseFirst(0, 1), min_tokens=0))
    calls = [
        make_call(site=Site(1, 3, step, 2), generator=torch.Generator().manual_seed(step)) for step in (0, 1)
    ]
    for call in calls:
        expected = scaled_dot_product_attention(call.q, call.k, call.v)
        torch.testing.assert_close(run.attend(call), expected)
    table = thresholds(run.states(), 3)
    each = [fit_thresholds(antidiagonal_mass(c, 4, 16), exact_mass(c, 16), 0.8)[0] for c in calls]
    assert table[0] == table[2] == (1.0, 1.0)
    assert table[1] == pytest.approx(torch.maximum(*each).tolist(), abs=1e-9)
    selection, _ = XAttention(stride=4, block=16, head_thresholds=table).select(calls[0], None)
    recall = (exact_mass(calls[0], 16) * selection.mask.keep).sum((-1, -2)) / 75
    assert (recall >= 0.8 - 1e-6).all()


def test_a_profile_without_calls_says_what_to_do():
    with pytest.raises(RecipeError, match="no attention call was profiled; use dense_steps=0"):
        thresholds({}, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"threshold": 0.0},
            r"estimated mass to keep per query block and must lie in \(0, 1\], got threshold=0.0",
        ),
        ({"threshold": 1.1}, "got threshold=1.1"),
        ({"stride": 0}, "divides the block side"),
        ({"stride": 48}, "got stride=48 and block=None"),
        ({"stride": 8, "block": 20}, "got stride=8 and block=20"),
        ({"stride": 2.0}, "got stride=2.0"),
        ({"block": 0}, "at least 1, got block=0"),
        (
            {"head_thresholds": [0.5, 0.6]},
            r"one list per layer, one entry per head, got head_thresholds=\[0.5, 0.6\]",
        ),
        ({"head_thresholds": ((0.5, 2.0),)}, r"got head_thresholds\[0\]\[1\]=2.0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        XAttention(**parameters)


@pytest.mark.parametrize("parameters", [{"recall": 0.0}, {"stride": 3}])
def test_the_profile_refuses_the_same(parameters):
    with pytest.raises(RecipeError):
        XAttentionProfile(**parameters)


LONG = """
import torch
from videosieve import AttentionCall, VideoLayout
from videosieve.methods import XAttention
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 2, layout.tokens, 64, dtype=torch.bfloat16)
selection, _ = XAttention(stride=16).select(AttentionCall(q, k, v, layout), None)
assert selection.mask.keep.shape == (1, 2, 931, 931)
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


@pytest.mark.slow
def test_119056_tokens_need_less_than_two_gib():
    run = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2
