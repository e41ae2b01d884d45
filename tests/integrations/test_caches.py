"""Caches of other programs by name: what is refused, and that they come off again."""

from functools import partial

import pytest
import torch

from videosieve import IntegrationError, RecipeError
from videosieve.generation.recipe_settings import parse_cache
from videosieve.integrations import caches
from videosieve.integrations.caches import CACHES, Cache
from videosieve.integrations.diffusers import sparsify
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

STEPS = 6
FAMILIES = {
    "wan": (tiny_wan, wan_call, {"cond", "uncond"}),
    "hunyuanvideo": (
        tiny_hunyuanvideo,
        partial(hunyuanvideo_call, true_cfg_scale=3.0, negative_prompt="under"),
        {"cond", "uncond"},
    ),
    "cogvideox": (tiny_cogvideox, cogvideox_call, {"cond_uncond"}),
}
SETTINGS = {
    "first_block": {"threshold": 0.5},
    "taylorseer": {"cache_interval": 2, "disable_cache_before_step": 1},
    "pyramid_broadcast": {"spatial_attention_timestep_skip_range": (-1, 1001)},
    "faster": {},
    "mag": {"mag_ratios": [1.0, 0.99, 0.98], "threshold": 0.5, "retention_ratio": 0.1},
}


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # FasterCache's own
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_of_diffusers_leaves_calls_out_and_comes_off_again(family, name):
    make, call, branches = FAMILIES[family]
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    bare = pipe(**call(num_inference_steps=STEPS)).frames
    with Cache(name, SETTINGS[name]).enabled(pipe, branches, STEPS), sparsify(pipe, "dense") as run:
        cached = pipe(**call(num_inference_steps=STEPS)).frames
    whole = STEPS * len(branches) * 2
    left_out = len(run.trace) < whole or len({record.pairs for record in run.trace.records}) > 1
    assert left_out
    assert not torch.equal(cached, bare)
    assert torch.equal(pipe(**call(num_inference_steps=STEPS)).frames, bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fbcache", "a cache is one of first_block, .*got 'fbcache'"),
        ("dbcach", r"did you mean 'dbcache'\?"),
        ("first_block:treshold=0.1", "has the settings threshold .*got treshold"),
        ("first_block:threshold", "a setting is key=value"),
        ("mag", "cannot be configured: `mag_ratios` must be provided"),
    ],
)
def test_what_no_cache_can_mean_is_refused_before_a_model_is_loaded(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_cache(text)


def test_settings_are_read_from_the_command_line():
    cache = parse_cache("mag:mag_ratios=[1.0, 0.9],threshold=0.1")
    assert cache == Cache("mag", {"mag_ratios": [1.0, 0.9], "threshold": 0.1})
    assert parse_cache(cache.label) == cache


def test_a_missing_package_is_said_with_the_way_out(monkeypatch):
    def refuse(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(caches, "import_module", refuse)
    with pytest.raises(
        IntegrationError, match=r"needs the package cache-dit.*pip install 'videosieve\[cache-dit\]'"
    ):
        Cache("dbcache")


def test_a_cache_that_an_older_diffusers_lacks_is_said(monkeypatch):
    monkeypatch.setattr(caches, "import_module", lambda _: object())
    with pytest.raises(IntegrationError, match="needs a newer diffusers: it has no SeaCacheConfig"):
        Cache("sea")


def test_a_cache_that_does_not_know_the_model_is_refused_and_leaves_nothing():
    pipe = tiny_cogvideox()
    pipe.set_progress_bar_config(disable=True)
    bare = pipe(**cogvideox_call(num_inference_steps=2)).frames
    with (
        pytest.raises(IntegrationError, match="a cache is on already"),
        Cache("first_block").enabled(pipe),
        Cache("taylorseer").enabled(pipe),
    ):
        pass
    assert torch.equal(pipe(**cogvideox_call(num_inference_steps=2)).frames, bare)


def test_every_cache_says_what_it_leaves_out():
    assert all(kind.says and kind.package in ("diffusers", "cache_dit") for kind in CACHES.values())
