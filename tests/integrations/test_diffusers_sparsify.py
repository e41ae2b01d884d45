"""sparsify: all or nothing, reversible, loud where it cannot work."""

import gc
import sys
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import nn

import videosieve
from videosieve.errors import IntegrationError, RecipeError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.methods import Method
from videosieve.recipe import Recipe
from videosieve.testing.pipelines import (
    hunyuanvideo_call,
    tiny_hunyuanvideo_transformer,
    tiny_wan,
    tiny_wan_transformer,
    wan_call,
)


@dataclass(frozen=True)
class Stateful(Method):
    """Dense; counts in its state how often it was called for a layer and branch, and notes every count."""

    name: ClassVar[str] = "stateful"
    seen: list = None

    def select(self, call, state):
        count = (state or 0) + 1
        self.seen.append((call.site.step, call.site.branch, call.site.layer, count))
        return None, count


def processors_of(target):
    return [module.processor for found in describe(target) for module in found.attentions.values()]


FAILURES = {
    "unknown method": ({"method_or_recipe": "svgg"}, RecipeError, "did you mean 'svg'"),
    "unknown option": ({"densty": 0.3}, RecipeError, "did you mean 'density'"),
    "bad value": ({"density": 3.0}, RecipeError, "density"),
    "bad steps": ({"steps": 0}, IntegrationError, "steps must be a whole number >= 1, got steps=0"),
    "steps of another kind": ({"steps": True}, IntegrationError, "got steps=True"),
    "unknown backend": ({"backend": "tritton"}, videosieve.BackendError, "no backend 'tritton'"),
    "bad recall_rows": (
        {"recall_rows": -1},
        videosieve.RecipeError,
        "a whole number >= 0, got recall_rows=-1",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_sparsify_changes_nothing(wan, name):
    options, error, message = FAILURES[name]
    transformer, before = wan.target.transformer, processors_of(wan.target)
    attributes = dict(transformer.__dict__)
    with pytest.raises(error, match=message):
        sparsify(wan.target, **options)
    assert all(a is b for a, b in zip(before, processors_of(wan.target), strict=True))
    assert transformer.__dict__ == attributes
    assert not transformer._forward_pre_hooks
    assert torch.equal(wan.generate(), wan.untouched)


def test_a_second_transformer_that_refuses_undoes_the_first():
    class Odd:
        def __call__(self, attn, hidden_states, *args, **kwargs):
            return hidden_states

    pipe = tiny_wan(two=True)
    pipe.transformer_2.blocks[1].attn1.processor = Odd()
    before = processors_of(pipe)
    with pytest.raises(IntegrationError, match=r"Odd.__call__ must call dispatch_attention_fn"):
        sparsify(pipe, "dense")
    assert all(a is b for a, b in zip(before, processors_of(pipe), strict=True))
    assert not pipe.transformer._forward_pre_hooks
    assert "cache_context" not in pipe.transformer.__dict__


def test_a_bare_transformer_needs_steps_where_dense_steps_are_a_fraction():
    transformer = tiny_wan_transformer()
    with pytest.raises(IntegrationError, match=r"give steps=\.\.\., or dense_steps as a count"):
        sparsify(transformer, "svg", dense_steps=0.2)
    assert not transformer._forward_pre_hooks
    for options in ({"dense_steps": 0.2, "steps": 5}, {"dense_steps": 2}, {"dense_steps": 0.0}):
        sparsify(transformer, "svg", **options).remove()


def test_an_already_sparse_pipeline_is_refused_until_the_run_is_removed(wan):
    run = sparsify(wan.target, "dense")
    with pytest.raises(IntegrationError, match="already sparsified"):
        sparsify(wan.target, "svg")
    run.remove()
    sparsify(wan.target, "svg").remove()


@pytest.mark.parametrize("target", [nn.Linear(2, 2), "a path", object()])
def test_an_unknown_target_is_told_what_is_known(target):
    with pytest.raises(IntegrationError, match="Known: HunyuanVideoTransformer3DModel, "):
        sparsify(target, "dense")


def test_an_unknown_pipeline_is_told_what_it_has(wan):
    wan.target.transformer = nn.Linear(2, 2)
    with pytest.raises(IntegrationError, match="transformer: Linear"):
        sparsify(wan.target, "dense")


def test_a_subclass_of_a_known_transformer_is_known():
    class Mine(type(tiny_wan_transformer())):
        pass

    transformer = tiny_wan_transformer()
    transformer.__class__ = Mine
    assert describe(transformer)[0].row.name == "WanTransformer3DModel"


def test_the_one_line_of_the_package_is_the_same_function(wan, sparse):
    with videosieve.sparsify(wan.target, "svg", **sparse) as run:
        wan.generate()
    assert run.summary().sparse_calls == 8


def test_two_pipelines_do_not_see_each_other(sparse):
    pipes = [tiny_wan(), tiny_wan()]
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
    runs = [
        sparsify(pipe, "svg", **{**sparse, "density": density})
        for pipe, density in zip(pipes, (0.3, 1.0), strict=True)
    ]
    alone = pipes[0](**wan_call()).frames
    assert [len(run.trace) for run in runs] == [12, 0]
    pipes[1](**wan_call())
    assert [len(run.trace) for run in runs] == [12, 12]
    assert runs[0].summary().sparse_density < runs[1].summary().sparse_density
    runs[1].remove()
    assert torch.equal(pipes[0](**wan_call()).frames, alone)
    assert [len(run.trace) for run in runs] == [24, 12]


def test_interleaved_pipelines_keep_their_own_step_and_layout():
    small, large = tiny_hunyuanvideo_transformer(), tiny_wan_transformer()
    with (
        sparsify(small, "dense", steps=3) as first,
        sparsify(large, "dense", steps=3) as second,
        torch.no_grad(),
    ):
        for time in (900, 500):
            large(torch.randn(1, 16, 3, 8, 6), torch.tensor([time]), torch.randn(1, 4, 32))
            small(
                torch.randn(1, 4, 3, 4, 6), torch.tensor([time]), torch.randn(1, 9, 16),
                torch.ones(1, 9), torch.randn(1, 8), torch.tensor([1.0]),
            )  # fmt: skip
    assert {(r.step, r.pairs) for r in first.trace.records} == {(0, 2 * 81**2), (1, 2 * 81**2)}
    assert {(r.step, r.pairs) for r in second.trace.records} == {(0, 2 * 36**2), (1, 2 * 36**2)}


def test_method_state_is_kept_per_layer_and_branch_and_starts_anew_with_a_generation(wan):
    method = Stateful([])
    with sparsify(wan.target, method, dense_steps=0, min_tokens=0):
        wan.generate()
        wan.generate()
    expected = [
        (step, branch, layer, step + 1)
        for step in range(3)
        for branch in ("cond", "uncond")
        for layer in range(2)
    ]
    assert method.seen == expected * 2


def test_method_state_is_kept_apart_for_prompts_of_different_length(hunyuanvideo):
    method = Stateful([])
    with sparsify(hunyuanvideo.target, method, dense_steps=0, min_tokens=0):
        hunyuanvideo.target(**hunyuanvideo_call(["a cat", "a red dog runs over the sea"]))
    counts = [count for step, _, layer, count in method.seen if layer == 0]
    assert counts == [1, 1, 2, 2, 3, 3]  # one state per length, each called once per step


def test_an_error_inside_the_with_block_still_restores_the_pipeline(wan):
    before = processors_of(wan.target)
    with pytest.raises(RuntimeError, match="stop"), sparsify(wan.target, "dense"):
        raise RuntimeError("stop")
    assert all(a is b for a, b in zip(before, processors_of(wan.target), strict=True))


def test_a_removed_run_leaves_nothing_behind(wan):
    modules = set(sys.modules)
    run = sparsify(wan.target, "dense")
    layer = weakref.ref(processors_of(wan.target)[0].videosieve_layer)
    assert set(sys.modules) > modules  # the re-bound code lives in one while the run does
    wan.generate()
    run.remove()
    assert not [name for name in set(sys.modules) - modules if "seam" in name]
    del run
    gc.collect()
    assert layer() is None


def test_a_pipeline_folder_saved_during_a_run_is_the_plain_pipeline(wan, sparse, tmp_path):
    wan.target.save_pretrained(tmp_path / "before")
    with sparsify(wan.target, "svg", **sparse) as run:
        sparse_output = wan.generate()
        wan.target.save_pretrained(tmp_path / "during")
        calls = len(run.trace)
        for folder in ("before", "during"):
            pipe = DiffusionPipeline.from_pretrained(tmp_path / folder)
            pipe.set_progress_bar_config(disable=True)
            with torch.no_grad():
                torch.testing.assert_close(pipe(**wan_call()).frames, wan_untouched(), rtol=0, atol=1e-6)
            with sparsify(pipe, "svg", **sparse):
                torch.testing.assert_close(pipe(**wan_call()).frames, sparse_output, rtol=0, atol=1e-6)
        assert len(run.trace) == calls
    names = [
        sorted(p.relative_to(tmp_path / f).as_posix() for p in (tmp_path / f).rglob("*"))
        for f in ("before", "during")
    ]
    assert names[0] == names[1]


def wan_untouched():
    pipe = tiny_wan()
    pipe.set_progress_bar_config(disable=True)
    return pipe(**wan_call()).frames


def test_an_empty_text_is_a_layout_without_text():
    transformer = tiny_hunyuanvideo_transformer()
    with (
        sparsify(transformer, "svg", min_tokens=0, dense_steps=0, block=8, density=0.5) as run,
        torch.no_grad(),
    ):
        transformer(
            torch.randn(1, 4, 3, 4, 6), torch.tensor([500]), torch.randn(1, 9, 16), torch.zeros(1, 9),
            torch.randn(1, 8), torch.tensor([1.0]),
        )  # fmt: skip
    assert {r.pairs for r in run.trace.records} == {2 * 72**2}


@pytest.mark.parametrize("recipe", ["minference_causal", Recipe.of("xattention", causal=True)])
def test_a_causal_method_is_refused_on_a_video_model(recipe):
    pipe = tiny_wan()
    with pytest.raises(
        RecipeError, match="no query sees a later key, and video transformers attend both ways"
    ):
        sparsify(pipe, recipe, dense_steps=0)
    sparsify(pipe, "svg").remove()
