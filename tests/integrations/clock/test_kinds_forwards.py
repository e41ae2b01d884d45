"""Kinds B to D with whole pipelines: forwards, batches and items that must not find each other's memory."""

import pytest
import torch
from diffusers import FasterCacheConfig, FlowMatchEulerDiscreteScheduler

from videosieve import DenseFirst, Recipe, sparsify
from videosieve.methods.adaspa import AdaSpa
from videosieve.methods.window_residual import WindowResidual
from videosieve.schedule import Table
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
)

SIZE = {"height": 48, "width": 64, "num_frames": 9, "output_type": "latent"}
REUSE = {"min_tokens": 0, "dense_steps": 0, "reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0}
MEMORIES = {
    "reuse": ("dense", REUSE),
    "adaspa": ("adaspa", {"min_tokens": 0, "dense_steps": 1}),
    "svg2": ("svg2", {"min_tokens": 0, "dense_steps": 1}),
    "shared": ("adaspa", {"min_tokens": 0, "dense_steps": 1, "shared_selection": True}),
}


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise(seed):
    return torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(seed))


TEXTS = {
    name: torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(9 + i))
    for i, name in enumerate("cup")
}


@torch.no_grad()
def denoise(pipe, windows, named, third=False, steps=4):
    """Windows of a video, none of which looks at another, with two or three forwards each per step."""
    scheduler, transformer = FlowMatchEulerDiscreteScheduler(shift=3.0), pipe.transformer
    scheduler.set_timesteps(steps)
    x = torch.cat([noise(seed) for seed in windows])
    names = ("cond", "uncond", "cond_skip") if third else ("cond", "uncond")
    for time in scheduler.timesteps:
        flows = []
        for window in x.split(1):
            flow = {}
            for name, letter in zip(names, "cup", strict=False):
                if named:
                    with transformer.cache_context(f"pred_{name}"):
                        flow[name] = transformer(window, time.expand(1), TEXTS[letter], return_dict=False)[0]
                else:
                    flow[name] = transformer(window, time.expand(1), TEXTS[letter], return_dict=False)[0]
            flows.append(flow["uncond"] + 5 * (flow["cond"] - flow["uncond"]))
        x = scheduler.step(torch.cat(flows), time, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("memory", MEMORIES)
def test_windows_equal_each_window_alone(memory, named):
    pipe = quiet(tiny_wan())
    method, options = MEMORIES[memory]
    with sparsify(pipe, method, **options) as run:
        together = denoise(pipe, range(3), named)
        calls = {(r.step, r.branch) for r in run.trace.records if r.layer == 0}
        alone = torch.cat([denoise(pipe, [seed], named) for seed in range(3)])
    assert {step for step, _ in calls} == set(range(4))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("memory", [name for name in MEMORIES if name != "shared"])
def test_a_third_forward_that_nobody_uses_changes_nothing(memory, named):
    pipe = quiet(tiny_wan())
    method, options = MEMORIES[memory]
    with sparsify(pipe, method, **options) as run:
        three = denoise(pipe, [0], named, third=True)
        steps = [r.step for r in run.trace.records]
        two = denoise(pipe, [0], named)
    assert steps == sorted(steps)
    torch.testing.assert_close(three, two, rtol=0, atol=1e-5)


def each_alone(draw, tolerance=1e-3):
    both = draw([0, 1])
    for item in (0, 1):
        torch.testing.assert_close(both[item], draw([item])[0], rtol=0, atol=tolerance)


PROMPTS = ["a red cat runs", "the blue sea"]
BATCHED = {"guidance_scale": 1.0, "num_inference_steps": 4, **SIZE, "height": 96, "width": 128}


@pytest.mark.parametrize("method", ["svg", "adaspa", "xattention"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_two_prompts_that_begin_with_the_same_noise_are_no_branches_of_one(method, dynamic):
    pipe = quiet(tiny_cogvideox(layers=1))
    latents = torch.randn(1, 5, 4, 16, 24, generator=torch.Generator().manual_seed(1))

    def draw(items):
        call = cogvideox_call([PROMPTS[i] for i in items], **BATCHED, use_dynamic_cfg=dynamic)
        return pipe(**call, latents=latents.repeat(len(items), 1, 1, 1, 1)).frames

    with sparsify(pipe, method, min_tokens=0, dense_steps=0, shared_selection=True) as run:
        each_alone(draw)
    assert not run.summary().borrowed_calls


@pytest.mark.parametrize("method", ["svg", "adaspa"])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_several_videos_of_one_prompt_with_dynamic_guidance_equal_each_alone(method, guidance):
    """The prompt comes twice: CogVideoX takes no notice of num_videos_per_prompt."""
    pipe = quiet(tiny_cogvideox(layers=1))
    options = {**BATCHED, "guidance_scale": guidance, "use_dynamic_cfg": True}

    def draw(items):
        call = cogvideox_call(["a red cat runs"] * len(items), **options)
        call["generator"] = [torch.Generator().manual_seed(i) for i in items]
        return pipe(**call).frames

    with sparsify(pipe, method, min_tokens=0, dense_steps=1, shared_selection=True) as run:
        each_alone(draw)
    assert bool(run.summary().borrowed_calls) == (guidance > 1)


def test_guidance_that_ends_midway_with_half_the_batch_is_traced_and_draws_what_it_should():
    """With every pair kept, memory of the whole batch must not change what the half becomes."""
    pipe = quiet(tiny_cogvideox())
    transformer = pipe.transformer
    text = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(2))

    @torch.no_grad()
    def loop(scheduler):
        x = torch.randn(1, 3, 4, 4, 6, generator=torch.Generator().manual_seed(3))
        scheduler.set_timesteps(6)
        for number, time in enumerate(scheduler.timesteps):
            size = 2 if number < 3 else 1
            flow = transformer(
                x.repeat(size, 1, 1, 1, 1), text[-size:], time.expand(size), return_dict=False
            )[0]
            x = scheduler.step(flow[-1:], time, x, return_dict=False)[0]
        return x

    plain = loop(pipe.scheduler)
    for method in ("adaspa", "svg2", "svg"):
        with sparsify(pipe, method, density=1.0, min_tokens=0, dense_steps=1, shared_selection=True) as run:
            torch.testing.assert_close(loop(pipe.scheduler), plain, rtol=0, atol=1e-2)
        assert {r.step for r in run.trace.records} == set(range(6))
        assert {r.branch for r in run.trace.records if r.step == 2} == {"cond", "uncond"}
        assert {r.branch for r in run.trace.records if r.step == 4} == {"cond_uncond"}


PLAN = Recipe(WindowResidual(1.0, block=4), Table(("FF", "FF", "fw", "WF", "fF", "WW")), min_tokens=0)
CACHED = {
    "adaspa shared": Recipe(AdaSpa(density=1.0), DenseFirst(1), min_tokens=0, shared_selection=True),
    "window residual": Recipe(WindowResidual(1.0, block=4), DenseFirst(1), min_tokens=0),
    "plan with shared branches": PLAN,
}


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # FasterCache's own
@pytest.mark.parametrize("recipe", CACHED)
def test_fastercache_goes_with_shared_selections_and_plans(recipe):
    def cached():
        pipe = quiet(tiny_cogvideox())
        pipe.transformer.enable_cache(
            FasterCacheConfig(
                spatial_attention_block_skip_range=2,
                spatial_attention_timestep_skip_range=(-1, 0),
                unconditional_batch_skip_range=2,
                unconditional_batch_timestep_skip_range=(-1, 901),
                current_timestep_callback=lambda: pipe.current_timestep,
                tensor_format="BFCHW",
            )
        )
        return pipe

    call = {"num_inference_steps": 6, "height": 64, "width": 96, "output_type": "latent"}
    for prompts in (PROMPTS[:1], PROMPTS):
        plain = cached()(**cogvideox_call(prompts, **call)).frames
        pipe = cached()
        with sparsify(pipe, CACHED[recipe]):
            drawn = pipe(**cogvideox_call(prompts, **call)).frames
        if recipe != "plan with shared branches":  # sharing branches changes the video
            torch.testing.assert_close(drawn, plain, rtol=0, atol=1e-2)
        assert drawn.isfinite().all()


LENGTHS = {
    "positives alike": (["a red cat runs", "the blue sea sleeps"], ["a dog", "a dog sleeps under the sun"]),
    "negatives alike": (["a red cat", "the blue sea over the sun"], ["a dog sleeps", "the sun runs"]),
    "all alike": (["a red cat runs", "the blue sea sleeps"], ["a dog sleeps in", "the sun runs over"]),
}


ITEMS = {
    "adaspa": ("adaspa", {}),
    "adaspa shared": ("adaspa", {"shared_selection": True}),
    "svg2": ("svg2", {}),
    "svg2 shared": ("svg2", {"shared_selection": True}),
    "window residual": ("window_residual", {"window": 0.5, "block": 8}),
}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("memory", ITEMS)
def test_items_of_a_hunyuanvideo_batch_equal_the_same_prompts_alone(lengths, memory):
    pipe = quiet(tiny_hunyuanvideo())
    positive, negative = LENGTHS[lengths]

    def draw(items):
        call = hunyuanvideo_call(
            [positive[i] for i in items],
            negative_prompt=[negative[i] for i in items],
            true_cfg_scale=4.0,
            num_inference_steps=4,
            **SIZE,
        )
        call["generator"] = [torch.Generator().manual_seed(i) for i in items]
        return pipe(**call).frames

    method, options = ITEMS[memory]
    with sparsify(pipe, method, min_tokens=0, dense_steps=1, **options):
        each_alone(draw)
