"""Kind A with whole pipelines: the plan that runs is the plan of the steps that are made, whatever the solver."""

from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from videosieve import sparsify
from videosieve.testing.pipelines import cogvideox_call, tiny_cogvideox, tiny_wan, wan_call

HALF = {"min_tokens": 0, "dense_steps": 0.5, "density": 0.4, "block": 8}
SOLVERS = {
    "DPM++ 2S": lambda: diffusers.DPMSolverSinglestepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, lower_order_final=True
    ),
    "UniPC, shift 12": lambda: diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=12.0
    ),
    "DEIS": lambda: diffusers.DEISMultistepScheduler(),
    "flow LCM": lambda: diffusers.FlowMatchLCMScheduler(shift=3.0),
}
TWICE = {"KDPM2": diffusers.KDPM2DiscreteScheduler, "Heun": diffusers.HeunDiscreteScheduler}


def quiet(pipe, scheduler=None):
    pipe.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipe.scheduler = scheduler
    return pipe


def plan_of(run, before=0):
    """(step, action) of the first layer, the unconditional branch left out."""
    records = run.trace.records[before:]
    return [(r.step, r.action) for r in records if r.layer == 0 and r.branch != "uncond"]


def half_dense(steps):
    return [(step, "dense" if step < steps // 2 else "sparse") for step in range(steps)]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_wan_is_dense_in_the_first_half_of_the_steps_of_every_solver(solver, guidance):
    pipe = quiet(tiny_wan(), SOLVERS[solver]())
    with sparsify(pipe, "svg", **HALF) as run:
        for steps in (6, 4):
            before = len(run.trace)
            pipe(**wan_call(num_inference_steps=steps, guidance_scale=guidance, output_type="latent"))
            assert plan_of(run, before) == half_dense(steps)


@pytest.mark.parametrize("solver", TWICE)
def test_cogvideox_counts_both_evaluations_of_a_second_order_solver(solver):
    pipe = quiet(tiny_cogvideox(), TWICE[solver]())
    with sparsify(pipe, "svg", **HALF) as run:
        pipe(**cogvideox_call(num_inference_steps=4, output_type="latent"))
    assert plan_of(run) == [(step, "dense" if step < 3 else "sparse") for step in range(7)]


@pytest.mark.parametrize("strength", [1.0, 0.8, 0.34])
def test_video_to_video_counts_from_where_its_strength_begins(strength):
    pipe = quiet(tiny_cogvideox())
    other = quiet(diffusers.CogVideoXVideoToVideoPipeline.from_pipe(pipe))
    clip = [
        Image.fromarray(np.random.RandomState(i).randint(0, 255, (32, 48, 3), np.uint8)) for i in range(9)
    ]
    call = cogvideox_call(num_inference_steps=6, output_type="latent")
    del call["num_frames"]
    with sparsify(pipe, "svg", **HALF) as run:
        pipe(**cogvideox_call(num_inference_steps=10, output_type="latent"))
        before = len(run.trace)
        other(video=clip, strength=strength, **call)
        made = min(int(6 * strength), 6)
        assert plan_of(run, before) == half_dense(made)


@pytest.mark.parametrize(("make", "call"), [(tiny_wan, wan_call), (tiny_cogvideox, cogvideox_call)])
def test_pipelines_in_bfloat16_count_every_step(make, call):
    pipe = quiet(make().to(torch.bfloat16))
    if make is tiny_wan:
        pipe.scheduler = SOLVERS["UniPC, shift 12"]()
    with sparsify(pipe, "svg", **HALF) as run:
        pipe(**call(num_inference_steps=30, output_type="latent"))
    assert plan_of(run) == half_dense(30)


def test_timesteps_in_bfloat16_that_coincide_are_steps_of_their_own():
    """HunyuanVideo-1.5 and others hand the timestep over in the dtype of the latents."""
    pipe = quiet(tiny_wan())
    pipe.scheduler = SOLVERS["UniPC, shift 12"]()
    transformer = pipe.transformer
    text, latents = torch.zeros(1, 4, 32), torch.randn(1, 16, 3, 4, 6)

    @torch.no_grad()
    def run_by_hand(scheduler):
        x = latents
        scheduler.set_timesteps(40)
        for time in scheduler.timesteps:
            flow = transformer(x, time.to(torch.bfloat16).expand(1), text, return_dict=False)[0]
            x = scheduler.step(flow, time, x, return_dict=False)[0]
        return len(set(scheduler.timesteps.to(torch.bfloat16).tolist()))

    with sparsify(pipe, "svg", **HALF) as run:
        distinct = run_by_hand(pipe.scheduler)
    assert distinct < 40
    assert plan_of(run) == half_dense(40)


def test_reuse_windows_are_reached_at_the_share_of_evaluations_that_was_asked_for():
    pipe = quiet(tiny_wan(), SOLVERS["DPM++ 2S"]())
    options = {"min_tokens": 0, "dense_steps": 0, "reuse_range": 2, "reuse_start": 0.5, "reuse_stop": 1.0}
    with sparsify(pipe, "svg", **options) as run:
        pipe(**wan_call(num_inference_steps=8, guidance_scale=1.0, output_type="latent"))
    reused = sorted({r.step for r in run.trace.records if r.action == "reuse"})
    assert reused
    assert min(reused) >= 4


def test_a_pipeline_object_without_steps_of_its_own_reads_the_scheduler():
    pipe = quiet(tiny_wan())
    holder = SimpleNamespace(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), transformer=pipe.transformer
    )

    @torch.no_grad()
    def denoise(holder):
        x = torch.randn(1, 16, 3, 4, 6)
        holder.scheduler.set_timesteps(4)
        for time in holder.scheduler.timesteps:
            flow = holder.transformer(x, time.expand(1), torch.zeros(1, 4, 32), return_dict=False)[0]
            x = holder.scheduler.step(flow, time, x, return_dict=False)[0]

    with sparsify(pipe, "svg", **HALF) as run:
        denoise(holder)
    assert plan_of(run) == half_dense(4)
