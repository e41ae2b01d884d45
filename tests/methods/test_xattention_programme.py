"""The dynamic programme over thresholds: against trying everything, and on a call whose heads differ."""

import itertools

import pytest
import torch

from videosieve import AttentionCall, RecipeError, Run, Site, VideoLayout
from videosieve.integrations.transformers.recipes import causal_recipe
from videosieve.methods import XAttention, attend_selected
from videosieve.methods.searches.xattention import XAttentionProfile, thresholds
from videosieve.methods.searches.xattention_programme import (
    FACTOR,
    XAttentionLevels,
    best_reductions,
    programme,
)
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst


def test_the_programme_finds_what_trying_everything_finds():
    kept = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort(
        0, descending=True
    )[0]
    best, choices = best_reductions(kept)
    expected = torch.full((16,), -torch.inf, dtype=torch.float64)
    for levels in itertools.product(range(4), repeat=5):
        total = sum(kept[level, head] for head, level in enumerate(levels))
        expected[sum(levels)] = torch.maximum(expected[sum(levels)], total)
    torch.testing.assert_close(best, expected)
    assert choices.shape == (5, 16)


def call_of_two_kinds():
    """Heads 0 and 1 look at one place, heads 2 and 3 everywhere."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, 4, 400, 16, generator=generator)
    k, v = (torch.randn(1, 2, 400, 16, generator=generator) for _ in range(2))
    k[:, 0, 100:110] = 3 * q[:, 0].mean(1, keepdim=True) + 2
    q[:, :2] = q[:, :2] * 0.3 + 2
    return AttentionCall(q, k, v, VideoLayout.sequence(400), Site(0, 2))


def test_thresholds_are_lowered_until_the_recall_is_reached_and_are_a_recipe():
    call = call_of_two_kinds()
    run = Run(Recipe(XAttentionLevels(stride=8, block=16), DenseFirst(0, 0), min_tokens=0))
    run.attend(call, "model")
    start = programme(run.states(), 2, 1.0)
    assert start.reductions == 0
    assert start.thresholds[0] == (0.9,) * 4
    found = programme(run.states(), 2, start.recall - 0.1)
    assert found.recall >= start.recall - 0.1
    assert found.density < start.density
    assert found.reductions > 0
    assert found.thresholds[1] == (1.0,) * 4
    assert all(any(abs(t - 0.9 * FACTOR**j) < 1e-4 for j in range(12)) for t in found.thresholds[0])
    method = XAttention(head_thresholds=found.thresholds, stride=8, block=16)
    recipe = causal_recipe(method)
    assert Recipe.from_toml(recipe.to_toml()).method == recipe.method
    result = attend_selected(call, recipe.method.select(call, None)[0])
    assert float(result.mask.head_density.mean()) == pytest.approx(found.density)
    for bad in (0, 1.1, -1):
        with pytest.raises(RecipeError, match="must lie in"):
            programme(run.states(), 2, bad)


def test_the_profile_of_single_heads_is_causal_too():
    call = call_of_two_kinds()
    run = Run(
        Recipe(XAttentionProfile(recall=0.8, stride=8, block=16, causal=True), DenseFirst(0, 0), min_tokens=0)
    )
    run.attend(call, "model")
    table = thresholds(run.states(), 2)
    run = Run(
        causal_recipe(XAttention(head_thresholds=table, stride=8, block=16), min_tokens=0), recall_rows=400
    )
    run.attend(call, "model")
    recall = run.trace.records[0].recall
    assert min(recall) >= 0.8 - 1e-4
    assert recall[0] < 1
