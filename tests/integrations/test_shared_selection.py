"""One selection for both branches of guidance, inside whole pipelines."""

from functools import partial

import pytest
import torch

from videosieve import DenseFirst, IntegrationError, Recipe, XAttention, sparsify
from videosieve.testing.pipelines import cogvideox_call, hunyuanvideo_call, tiny_cogvideox, tiny_hunyuanvideo


def recipe_of(threshold: float, shared: bool = True, dense_steps: int = 1) -> Recipe:
    method, schedule = XAttention(threshold, stride=4, block=8), DenseFirst(dense_steps, 0)
    return Recipe(method, schedule, min_tokens=0, shared_selection=shared)


def test_wan_branches_are_two_calls_with_one_selection(wan):
    with sparsify(wan.target, recipe_of(0.5)) as run:
        shared = wan.generate()
    with sparsify(wan.target, recipe_of(0.5, shared=False)):
        own = wan.generate()
    sparse = [record for record in run.trace.records if record.action == "sparse"]
    by_site = {(r.step, r.layer, r.branch): r for r in sparse}
    for step, layer in {site[:2] for site in by_site}:
        first, second = (by_site[step, layer, name] for name in ("cond", "uncond"))
        assert (first.source, second.source) == ((), (step, "cond"))
        assert first.density == second.density < 1
    assert not torch.equal(shared, own)


def test_wan_with_everything_kept_draws_the_dense_video(wan):
    with sparsify(wan.target, recipe_of(1.0)) as run:
        video = wan.generate()
    torch.testing.assert_close(video, wan.untouched, atol=1e-4, rtol=1e-4)
    assert run.summary().borrowed_calls == run.summary().sparse_calls / 2


def cogvideox(**options):
    pipe = tiny_cogvideox()
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda **more: pipe(**cogvideox_call(), **options, **more).frames


def test_a_batch_of_both_branches_is_computed_as_two_halves():
    pipe, generate = cogvideox()
    dense = generate()
    with sparsify(pipe, recipe_of(1.0)) as run:
        torch.testing.assert_close(generate(), dense, atol=1e-4, rtol=1e-4)
    branches = [record.branch for record in run.trace.records]
    assert branches == ["cond", "uncond"] * (len(branches) // 2)
    assert run.summary().borrowed_calls == run.summary().sparse_calls / 2


def test_it_is_the_conditional_half_that_chooses():
    pipe, generate = cogvideox()
    found = {}
    for negative in ("sea", cogvideox_call()["prompt"]):
        with sparsify(pipe, recipe_of(0.5, dense_steps=0)) as run:
            generate(negative_prompt=negative)
        found[negative] = [record.density for record in run.trace.records[:2]]
    assert found["sea"] == found[cogvideox_call()["prompt"]]
    with sparsify(pipe, recipe_of(0.5, shared=False, dense_steps=0)) as run:
        generate(negative_prompt="sea")
    assert run.trace.records[0].density != found["sea"][0]


def test_one_prompt_in_both_halves_changes_nothing():
    pipe, generate = cogvideox()
    same = {"negative_prompt": cogvideox_call()["prompt"]}
    with sparsify(pipe, recipe_of(0.5, shared=False)):
        own, own_guided = generate(**same), generate()
    with sparsify(pipe, recipe_of(0.5)) as run:
        torch.testing.assert_close(generate(**same), own, atol=1e-4, rtol=1e-4)
        shared_guided = generate()
    assert run.summary().sparse_density < 1
    assert (shared_guided - own_guided).abs().max() > 1e-3


def test_without_guidance_nothing_is_shared():
    pipe, generate = cogvideox(guidance_scale=1.0)
    with sparsify(pipe, recipe_of(0.5, shared=False)):
        own = generate()
    with sparsify(pipe, recipe_of(0.5)) as run:
        assert torch.equal(generate(), own)
    assert run.summary().borrowed_calls == 0


def test_prompts_of_different_length_share_too():
    pipe = tiny_hunyuanvideo()
    pipe.set_progress_bar_config(disable=True)
    call = partial(
        hunyuanvideo_call, "a red dog runs over the sea", true_cfg_scale=3.0, negative_prompt="cat"
    )
    with sparsify(pipe, recipe_of(0.5)) as run:
        video = pipe(**call()).frames
    assert torch.isfinite(torch.as_tensor(video)).all()
    pairs = {record.branch: record.pairs for record in run.trace.records}
    assert pairs["cond"] > pairs["uncond"]
    assert run.summary().borrowed_calls == run.summary().sparse_calls / 2


def test_a_bare_transformer_with_both_branches_in_a_batch_is_refused():
    transformer = tiny_cogvideox().transformer
    with pytest.raises(IntegrationError, match="shared_selection needs to know; hand the pipeline to"):
        sparsify(transformer, recipe_of(0.5), steps=3)
