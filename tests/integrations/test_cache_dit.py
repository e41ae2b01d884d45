"""cache-dit and videosieve on one pipeline, in either order: real cache-dit, tiny models."""

import logging
from functools import partial

import pytest
import torch

from videosieve.integrations.caches import Cache
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

cache_dit = pytest.importorskip(
    "cache_dit", reason="cache-dit is not installed: pip install 'videosieve[cache-dit]'"
)

STEPS = 8
FAMILIES = {
    "wan": (partial(tiny_wan, layers=4), wan_call, 64),
    "hunyuanvideo": (partial(tiny_hunyuanvideo, layers=2, single_layers=3), hunyuanvideo_call, 40),
    "cogvideox": (partial(tiny_cogvideox, layers=4), cogvideox_call, 32),
}
SETTINGS = {"Fn_compute_blocks": 1, "max_warmup_steps": 2, "residual_diff_threshold": 0.5}
SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 2, "block": 8}


@pytest.fixture(autouse=True)
def _quiet():
    log = logging.getLogger("CACHE_DIT")
    level = log.level
    log.setLevel(logging.ERROR)
    yield
    log.setLevel(level)


@pytest.fixture(params=list(FAMILIES))
def case(request):
    make, call, calls = FAMILIES[request.param]

    def build():
        pipe = make()
        pipe.set_progress_bar_config(disable=True)
        return pipe, lambda: pipe(**call(num_inference_steps=STEPS)).frames

    return build, calls


def enable(pipe):
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(**SETTINGS))


def test_either_order_draws_the_same_and_both_come_off_again(case):
    build, calls = case
    videos = []
    for cache_first in (True, False):
        pipe, draw = build()
        bare = draw()
        if cache_first:
            enable(pipe)
            cached = draw()
            assert not torch.equal(cached, bare)
        run = sparsify(pipe, "svg", **SPARSE)
        if not cache_first:
            sparse_alone = draw()
            assert len(run.trace) == calls
            run.reset()
            enable(pipe)
        videos.append(draw())
        assert 0 < len(run.trace) < calls
        sites = [(record.step, record.action) for record in run.trace.records]
        assert {step for step, _ in sites} == set(range(STEPS))
        assert {action for step, action in sites if step < 2} == {"dense"}
        assert {action for step, action in sites if step >= 2} == {"sparse"}
        assert torch.equal(draw(), videos[-1])
        if cache_first:  # undone in the order in which they came, and the other way round below
            cache_dit.disable_cache(pipe)
            run.remove()
        else:
            run.remove()
            torch.testing.assert_close(draw(), cached, rtol=0, atol=1e-5)
            cache_dit.disable_cache(pipe)
        assert torch.equal(draw(), bare)
    assert torch.equal(*videos)
    assert not torch.equal(videos[0], sparse_alone)


def test_a_dense_recipe_equals_the_cache_alone(case):
    build, _ = case
    pipe, draw = build()
    enable(pipe)
    expected = draw()
    with sparsify(pipe, "dense"):
        torch.testing.assert_close(draw(), expected, rtol=0, atol=5e-5)
    cache_dit.disable_cache(pipe)


def test_layers_keep_their_numbers_after_cache_dit_has_put_the_blocks_elsewhere():
    """For every forward it takes the lists of blocks out of their module, and appends them again in another order."""
    pipe = tiny_hunyuanvideo(layers=2, single_layers=3)
    pipe.set_progress_bar_config(disable=True)
    names = list(describe(pipe)[0].attentions)
    enable(pipe)
    pipe(**hunyuanvideo_call(num_inference_steps=1))
    cache_dit.disable_cache(pipe)
    assert list(describe(pipe)[0].attentions) == names


def test_a_cache_of_compare_leaves_the_order_of_blocks_for_the_next_one():
    """FirstBlockCache takes the first list of blocks for the one that runs first."""
    pipe = tiny_hunyuanvideo(layers=2, single_layers=3)
    pipe.set_progress_bar_config(disable=True)
    call = hunyuanvideo_call(num_inference_steps=4)
    children = [name for name, _ in pipe.transformer.named_children()]
    with Cache("dbcache", SETTINGS).enabled(pipe, {"cond"}):
        pipe(**call)
    assert [name for name, _ in pipe.transformer.named_children()] == children
    with Cache("first_block", {"threshold": 0.5}).enabled(pipe, {"cond"}), sparsify(pipe, "dense") as run:
        pipe(**call)
    assert len(run.trace) < 4 * 5


@pytest.mark.parametrize("name", ["dbcache", "dbcache_taylorseer"])
def test_the_caches_of_compare_are_cache_dits_own(case, name):
    build, calls = case
    pipe, draw = build()
    bare = draw()
    with sparsify(pipe, "dense") as run:
        draw()
    branches = {record.branch for record in run.trace.records}
    with Cache(name, SETTINGS).enabled(pipe, branches), sparsify(pipe, "dense") as run:
        ours = draw()
        assert 0 < len(run.trace) < calls
    assert torch.equal(draw(), bare)
    more = {}
    if name == "dbcache_taylorseer":
        more["calibrator_config"] = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=1)
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(**SETTINGS), **more)
    torch.testing.assert_close(ours, draw(), rtol=0, atol=5e-5)
    cache_dit.disable_cache(pipe)


def test_both_branches_of_guidance_are_told_apart_where_each_has_a_forward():
    """cache-dit takes HunyuanVideo for a model without classifier-free guidance; with it, residuals must not mix."""
    pipe = tiny_hunyuanvideo(layers=2, single_layers=3)
    pipe.set_progress_bar_config(disable=True)
    call = hunyuanvideo_call(num_inference_steps=STEPS, true_cfg_scale=3.0, negative_prompt="under")
    warm_up = {"cond": {0}, "cond, uncond": {0, 1}}  # two forwards; two forwards of each branch
    for branches, steps in warm_up.items():
        cache = Cache("dbcache", {**SETTINGS, "residual_diff_threshold": 1e9})  # cached as soon as it may be
        with cache.enabled(pipe, branches.split(", ")), sparsify(pipe, "dense") as run:
            pipe(**call)
        assert {record.step for record in run.trace.records if record.layer == 1} == steps
