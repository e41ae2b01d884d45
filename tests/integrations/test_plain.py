"""The plain function for hosts: tensors as they have them, and what they say of a call."""

import logging
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import METHODS, AttentionCall, RecipeError, Site, VideoLayout
from videosieve.integrations.plain import WITH_MEMORY, WITHOUT_GRID, attend_bshd, bind
from videosieve.methods import ask, make_method

GRID = (4, 6, 8)
PLACES = {"step": 1, "steps": 4, "layer": 0, "layers": 2, "branch": "cond"}


def draw(tokens: int = 192, heads: int = 2, batch: int = 1):
    generator = torch.Generator().manual_seed(tokens)
    return tuple(torch.randn(batch, tokens, heads, 16, generator=generator) for _ in range(3))


def dense(q, k, v, **options):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)


def test_density_one_is_sdpa_with_the_layout_of_the_host():
    q, k, v = draw(192 + 7 + 5, batch=2)
    attend = bind("svg", density=1.0, min_tokens=0, dense_steps=0, block=16)
    out = attend(q, k, v, {"grid": GRID, "prefix": 7, "suffix": 5, "host_key": object()})
    assert out.shape == q.shape
    torch.testing.assert_close(out, dense(q, k, v), rtol=1e-4, atol=1e-5)
    assert attend.run.trace.records[0].action == "sparse"


def test_the_grid_follows_from_latents_and_patches():
    attend = bind("svg", density=0.5, min_tokens=0, dense_steps=0, block=16)
    attend(*draw(), {"latent_shape": (1, 16, 4, 12, 15), "patch_size": (1, 2, 2)})
    assert [record.action for record in attend.run.trace.records] == ["sparse"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"grid": (4, 6, 7)}, "a grid of 4 × 6 × 7 with 0 + 0 others does not make 192 tokens"),
        ({}, "no grid does not make 192 tokens"),
        ({"grid": GRID, "attn_mask": torch.ones(192, 192, dtype=torch.bool)}, "a mask or causal attention"),
    ],
)
def test_what_does_not_fit_is_dense_and_the_reason_is_logged_once(caplog, params, reason):
    attend = bind("svg", density=0.5, min_tokens=0, dense_steps=0, block=16)
    q, k, v = draw()
    with caplog.at_level(logging.WARNING, logger="videosieve"):
        for _ in range(3):
            torch.testing.assert_close(attend(q, k, v, params), dense(q, k, v))
    assert caplog.messages == [f"recipe 'svg': a call stays dense: {reason}"]


def test_cross_attention_grouped_queries_and_causal_calls_are_the_hosts():
    attend = bind("svg", density=0.5, min_tokens=0, dense_steps=0, block=16)
    q, k, v = draw(heads=4)
    few = k[:, :50], v[:, :50]
    torch.testing.assert_close(attend(q, *few, {"grid": GRID}), dense(q, *few))
    groups = k[:, :, :2], v[:, :, :2]
    torch.testing.assert_close(attend(q, *groups, {"grid": GRID}), dense(q, *groups, enable_gqa=True))
    torch.testing.assert_close(
        attend(q, k, v, {"grid": GRID}, is_causal=True, softmax_scale=0.3),
        dense(q, k, v, is_causal=True, scale=0.3),
    )


@pytest.mark.parametrize("method", WITHOUT_GRID)
def test_methods_without_a_grid_choose_the_same_with_and_without(method):
    q, k, v = draw()
    options = {"min_tokens": 0, "dense_steps": 0, "dense_layers": 0}
    with_grid, without = (bind(method, **options)(q, k, v, PLACES | more) for more in ({"grid": GRID}, {}))
    assert torch.equal(with_grid, without)


def test_methods_with_a_memory_are_those_that_hand_a_state_back():
    q, k, v = (x.transpose(1, 2) for x in draw())
    found = set()
    for name in METHODS:
        call = AttentionCall(q, k, v, VideoLayout.of(*GRID), Site(0, 1, 1, 4))
        method = make_method(name)
        _, state = ask(method, call, None)
        learns = type(method).observe_dense is not METHODS["svg"].observe_dense
        found |= {name} if state is not None or learns else set()
    assert found == set(WITH_MEMORY)


def test_a_recipe_that_counts_needs_a_host_that_counts():
    q, k, v = draw()
    with pytest.raises(
        RecipeError, match=r"give step and steps \(or dense_steps=0\) in params, which has grid"
    ):
        bind("svg", min_tokens=0)(q, k, v, {"grid": GRID})
    with pytest.raises(RecipeError, match="give step, layer, branch in params"):
        bind("adaspa", dense_steps=0, dense_layers=0)(q, k, v, {})
    with pytest.raises(RecipeError, match="no option 'densty'"):
        bind("svg", densty=0.3)
    with pytest.raises(RecipeError, match="returns earlier outputs"):
        bind("pab")


def test_a_step_that_falls_begins_another_generation_of_its_owner():
    attend = bind("svg", density=0.5, min_tokens=0, dense_steps=1, block=16)
    attend.run.trace.keep = "all"
    q, k, v = draw()
    for owner, step in (("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 0), ("a", 1)):
        attend(q, k, v, {"grid": GRID, "step": step, "steps": 2, "owner": owner})
    seen = [(record.generation, record.step, record.action) for record in attend.run.trace.records]
    assert seen == [
        (0, 0, "dense"),
        (1, 0, "dense"),
        (0, 1, "sparse"),
        (1, 1, "sparse"),
        (2, 0, "dense"),
        (2, 1, "sparse"),
    ]


def test_a_host_without_steps_or_with_many_owners_leaves_nothing_behind():
    attend = bind("svg", density=0.5, min_tokens=0, dense_steps=0, block=16)
    q, k, v = draw()
    for number in range(100):
        attend(q, k, v, {"grid": GRID, "layer": number % 2, "layers": 2, "owner": "one"})
    assert len(attend.run.trace) == 2
    for number in range(100):
        attend(q, k, v, {"grid": GRID, "step": 0, "steps": 4, "owner": number})
    assert len(attend.run.trace) <= 65 + 2


def test_the_function_finds_its_recipe_again():
    q, k, v = draw()
    recipe = {"method": "svg", "density": 1.0, "min_tokens": 0, "dense_steps": 0, "block": 16}
    for _ in range(2):
        out = attend_bshd(q, k, v, {"recipe": recipe, "grid": GRID})
        torch.testing.assert_close(out, dense(q, k, v), rtol=1e-4, atol=1e-5)


def test_it_imports_torch_and_no_host():
    heavy = "diffusers,transformers,numpy.testing,triton,matplotlib"
    program = f"import sys, videosieve.integrations.plain; print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_causal_method_is_refused():
    with pytest.raises(RecipeError, match="'minference_causal' is causal"):
        bind("minference_causal", dense_steps=0)
