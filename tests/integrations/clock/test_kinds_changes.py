"""Kind E with whole pipelines: what is changed, copied or broken while the pipeline is sparse."""

import copy
import io
import pickle
import re
import threading

import pytest
import torch
from torch.nn import Linear, Module

from videosieve import IntegrationError, sparsify
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

FAMILIES = {
    "wan": (tiny_wan, wan_call),
    "cogvideox": (tiny_cogvideox, cogvideox_call),
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
}
REUSED = {
    "density": 1.0,
    "min_tokens": 0,
    "dense_steps": 0,
    "reuse_start": 0.0,
    "reuse_stop": 1.0,
    "reuse_range": 2,
}
KINDS = {"attention": {}, "feed-forward": {"reuse_mlp": 2}, "sparse": None}


def options_of(kind):
    if KINDS[kind] is None:
        return {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "block": 8}
    return REUSED | KINDS[kind]


def make(name, steps=4):
    build, call = FAMILIES[name]
    pipe = build()
    pipe.set_progress_bar_config(disable=True)
    return (
        pipe,
        lambda one=pipe, **more: one(**call(num_inference_steps=steps, output_type="latent", **more)).frames,
    )


class Lora(Module):
    """A low-rank addition around a linear, as peft wraps it: the base stays a child."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = Linear(base.in_features, 4, bias=False)
        self.lora_B = Linear(4, base.out_features, bias=False)
        torch.nn.init.normal_(self.lora_B.weight, std=0.1)

    def forward(self, x, *args, **kwargs):
        return self.base_layer(x, *args, **kwargs) + 0.5 * self.lora_B(self.lora_A(x))


_WRAPPED = re.compile(r"blocks\.\d+\.(attn|attn1|ff|ffn|proj).*")


def load(transformer):
    torch.manual_seed(5)
    for name, module in list(transformer.named_modules()):
        if isinstance(module, Linear) and _WRAPPED.search(name):
            _put(transformer, name, Lora(module).eval())


def unload(transformer):
    for name, module in list(transformer.named_modules()):
        if isinstance(module, Lora):
            _put(transformer, name, module.base_layer)


def _put(transformer, name, module):
    parent, _, child = name.rpartition(".")
    setattr(transformer.get_submodule(parent), child, module)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("copied", ["deepcopy", "copy"])
@pytest.mark.parametrize("when", ["between", "midway"])
def test_a_copy_draws_what_the_plain_pipeline_draws_after_removal(name, kind, copied, when):
    pipe, draw = make(name)
    plain, twins = draw(), []
    take = copy.deepcopy if copied == "deepcopy" else copy.copy

    def grab(one, step, time, tensors):
        if step == 1 and when == "midway":
            twin = copy.copy(one)
            twin.transformer = take(one.transformer)
            twins.append(twin)
        return tensors

    with sparsify(pipe, "svg", **options_of(kind)) as run:
        first = draw(callback_on_step_end=grab)
        if when == "between":
            twins.append(copy.copy(pipe))
            twins[0].transformer = take(pipe.transformer)
        during = draw(twins[0])
        torch.testing.assert_close(draw(), first, rtol=0, atol=0)
        if copied == "deepcopy":  # a shallow copy has the modules of the original, which are sparse
            torch.testing.assert_close(during, plain, rtol=0, atol=0)
        else:
            torch.testing.assert_close(during, first, rtol=0, atol=0)
    assert run.summary()
    for one in (*twins, pipe):
        torch.testing.assert_close(draw(one), plain, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "save", [pickle.dumps, lambda x: torch.save(x, io.BytesIO())], ids=["pickle", "torch"]
)
@pytest.mark.parametrize("name", ["wan", "hunyuanvideo"])
def test_pickling_a_sparse_transformer_is_refused_with_the_way_out(name, kind, save):
    pipe, draw = make(name, steps=2)
    with sparsify(pipe, "svg", **options_of(kind)) as run:
        with pytest.raises(IntegrationError, match=r"state_dict\(\) and save_pretrained"):
            save(pipe.transformer)
        draw()
        state = pipe.transformer.state_dict()
    assert run.summary()
    save(pipe.transformer)
    assert not [key for key in state if "videosieve" in key]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lora_that_comes_and_goes_between_generations_draws_as_without_reuse(name):
    pipe, draw = make(name)
    plain = draw()
    load(pipe.transformer)
    wrapped, options = None, REUSED | {"reuse_mlp": 2}
    with sparsify(pipe, "svg", **options):
        wrapped = draw()
    unload(pipe.transformer)
    with sparsify(pipe, "svg", **options):
        reused = draw()
        load(pipe.transformer)
        torch.testing.assert_close(draw(), wrapped, rtol=0, atol=1e-5)
        unload(pipe.transformer)
        torch.testing.assert_close(draw(), reused, rtol=0, atol=1e-5)
    assert not torch.equal(wrapped, reused)
    torch.testing.assert_close(draw(), plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lora_that_comes_midway_is_used_from_the_next_step_that_computes(name):
    """The oracle is the plain pipeline: where nothing is reused, loading midway draws the same."""
    pipe, draw = make(name)

    def at_two(one, step, time, tensors):
        if step == 1:
            load(one.transformer)
        return tensors

    plain = draw(callback_on_step_end=at_two)
    unload(pipe.transformer)
    options = REUSED | {"reuse_mlp": 2}
    with sparsify(pipe, "svg", **options | {"reuse_start": 0.0, "reuse_stop": 0.5}) as run:
        before = draw(callback_on_step_end=at_two)
        unload(pipe.transformer)
        torch.testing.assert_close(draw(callback_on_step_end=at_two), before, rtol=0, atol=1e-5)
        unload(pipe.transformer)
    assert run.summary().reused_calls
    with sparsify(pipe, "svg", density=1.0, min_tokens=0, dense_steps=0):
        torch.testing.assert_close(draw(callback_on_step_end=at_two), plain, rtol=0, atol=1e-3)
    unload(pipe.transformer)


@pytest.mark.parametrize("name", FAMILIES)
def test_processors_that_are_replaced_during_a_run_are_refused_and_the_run_can_be_removed(name):
    pipe, draw = make(name)
    plain = draw()
    own = {key: one for key, one in pipe.transformer.attn_processors.items()}
    run = sparsify(pipe, "svg", **options_of("sparse"))
    draw()
    pipe.transformer.set_attn_processor(own)
    with pytest.raises(IntegrationError, match="lost their sparse processor"):
        draw()
    run.remove()
    torch.testing.assert_close(draw(), plain, rtol=0, atol=0)


class Broken(Exception):
    pass


def break_once(transformer, after):
    """A hook in the midst of a transformer that raises at one of its forwards."""
    blocks = next(m for n, m in transformer.named_modules() if re.fullmatch(r"(transformer_)?blocks\.0", n))
    left = [after]

    def hook(module, args, output):
        left[0] -= 1
        if left[0] == 0:
            raise Broken

    return blocks.register_forward_hook(hook)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_generation_after_an_error_in_a_forward_draws_as_if_nothing_had_been(name, kind, after):
    pipe, draw = make(name)
    with sparsify(pipe, "svg", **options_of(kind)) as run:
        whole = draw()
        before = len(run.trace)
        sites = [(r.step, r.branch, r.layer, r.action) for r in run.trace.records]
        handle = break_once(pipe.transformer, after)
        with pytest.raises(Broken):
            draw(seed=7)
        handle.remove()
        middle = len(run.trace)
        torch.testing.assert_close(draw(), whole, rtol=0, atol=0)
        assert [(r.step, r.branch, r.layer, r.action) for r in run.trace.records[middle:]] == sites
    assert before == len(sites)


def test_a_generation_after_an_error_in_another_thread_draws_as_if_nothing_had_been():
    pipe, draw = make("wan")
    errors = []

    def work():
        try:
            draw(seed=7)
        except Broken as error:
            errors.append(error)  # and its frames with it

    with sparsify(pipe, "svg", **options_of("attention")):
        whole = draw()
        handle = break_once(pipe.transformer, 3)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        handle.remove()
        torch.testing.assert_close(draw(), whole, rtol=0, atol=0)
    assert len(errors) == 1


def test_the_transformer_that_took_the_place_of_a_sparse_one_is_left_alone():
    pipe, draw = make("wan")
    plain = draw()
    old = pipe.transformer
    with sparsify(pipe, "svg", **options_of("sparse")) as run:
        pipe.transformer = copy.deepcopy(old)
        torch.testing.assert_close(draw(), plain, rtol=0, atol=0)
        assert len(run.trace) == 0
        pipe.transformer = old
        draw()
        assert len(run.trace)
    torch.testing.assert_close(draw(), plain, rtol=0, atol=0)
