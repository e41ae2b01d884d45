"""Caching alone, sparsity alone and both, in one comparison."""

from dataclasses import replace
from typing import Any

import pytest

from videosieve.comparison.compare import compare
from videosieve.comparison.left_out import with_left_out
from videosieve.comparison.plan import Plan, cross_requests, name_recipes, with_caches
from videosieve.errors import RecipeError
from videosieve.generation.recipe_settings import make_recipes, parse_cache
from videosieve.generation.request import Request
from videosieve.integrations.caches import Cache
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.report.results import METHOD
from videosieve.trace import Trace

CACHE = "first_block:threshold=0.9"


def make_plan(caches: tuple[str, ...] = (CACHE,)) -> Plan:
    named = name_recipes(make_recipes("svg", 0.4, ("min_tokens=0", "dense_steps=1")))
    recipes, on = with_caches(named, [parse_cache(text) for text in caches])
    requests = cross_requests(Request("", steps=4), ["a red circle moves left"], (0,), "shapes-nano")
    return Plan(requests, recipes, model="shapes-nano", floor=False, caches=on)


def test_a_cache_has_a_row_of_its_own_and_one_with_every_method(nano: Any, tmp_path):
    results = compare(nano, make_plan(), tmp_path)
    dense, svg, cached, both = results.clips
    assert [clip.method for clip in results.clips] == ["dense", "svg", CACHE, f"svg+{CACHE}"]
    assert [clip.kind for clip in (svg, cached, both)] == [METHOD] * 3
    assert dense.run_density == 1 > cached.run_density
    assert both.run_density < min(svg.run_density, cached.run_density)
    assert both.sparse_density == pytest.approx(svg.sparse_density, abs=0.1)
    assert len(cached.density_steps) == len(dense.density_steps) == 4
    assert cached.psnr is not None
    assert cached.accuracy is not None
    traces = [Trace.load(tmp_path / clip.files["trace"]).records for clip in results.clips]
    assert len({sum(record.pairs for record in records) for records in traces}) == 1
    recipe = Recipe.from_toml(results.recipes[both.method])
    assert recipe.provenance["cache"] == CACHE
    assert recipe.provenance["cache_of"].startswith("diffusers ")
    assert not results.warnings.get(CACHE)


def test_the_pipeline_is_left_without_a_cache(nano: Any, tmp_path):
    compare(nano, make_plan(), tmp_path)
    assert not nano.transformer.is_cache_enabled


def test_a_cache_twice_and_a_cache_without_a_recipe_are_refused():
    with pytest.raises(
        RecipeError, match="two rows of the comparison are called 'first_block:threshold=0.9'"
    ):
        make_plan((CACHE, CACHE))
    plan = make_plan()
    with pytest.raises(RecipeError, match="a cache belongs to a recipe other than 'dense', got nobody"):
        replace(plan, caches={"nobody": Cache("first_block")})
    with pytest.raises(RecipeError, match="a cache belongs to a recipe other than 'dense', got dense"):
        replace(plan, caches={"dense": Cache("first_block")})


def record(step: int, layer: int = 0, pairs: int = 100, **more: Any) -> Record:
    return Record(layer, step, "cond", "dense", "the method is dense", "sdpa", pairs, 1.0, **more)


def test_what_a_cache_left_out_counts_as_reused_over_the_pairs_of_the_baseline():
    whole = Trace([record(step, layer) for step in range(3) for layer in range(2)])
    ran = Trace([record(0), record(0, 1), record(1), record(2), record(2, 1, pairs=50)])
    full = with_left_out(ran, whole, "some_cache")
    found = [(r.step, r.layer, r.action, r.pairs, r.note) for r in full.records]
    left_out = "left out by some_cache"
    assert found == [
        (0, 0, "dense", 100, ""), (0, 1, "dense", 100, ""),
        (1, 0, "dense", 100, ""), (1, 1, "reuse", 100, left_out),
        (2, 0, "dense", 100, ""), (2, 1, "dense", 50, ""), (2, 1, "reuse", 50, left_out),
    ]  # fmt: skip
    assert full.summary().run_density == pytest.approx(450 / 600)
    assert full.summary().reused_calls == 2
