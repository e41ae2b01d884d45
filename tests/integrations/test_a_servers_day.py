"""A pipeline that is made sparse once and serves many requests."""

import copy
import gc
import logging
import sys
import threading

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import videosieve
from videosieve.testing.pipelines import tiny_wan, wan_call

CALLS = 4 * 10 * 2
"""Attention calls of a generation: layers, steps, branches."""


@pytest.fixture
def pipe():
    pipe = tiny_wan(layers=4)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def serve(pipe, seed=0, steps=10):
    return pipe(**wan_call(num_inference_steps=steps, output_type="latent", seed=seed)).frames


def living():
    """Tensors, and blocks of memory that Python holds: an object that is kept is at least one."""
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()), sys.getallocatedblocks()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["svg", "adaspa"])
def test_ten_thousand_calls_leave_memory_where_it_was(pipe, method):
    """An object kept a call would be 10,000 blocks; half as many are left to caches of Python and torch."""
    with videosieve.sparsify(pipe, method, min_tokens=0, dense_steps=1) as run:
        run.trace.keep = "last"
        told = []
        run.on_generation(lambda number, summary: told.append(number) or told.__delitem__(slice(0, -1)))
        for _ in range(3):
            serve(pipe)
        tensors, blocks = living()
        for _ in range(10_000 // CALLS):
            serve(pipe)
        more, grown = (now - before for now, before in zip(living(), (tensors, blocks), strict=True))
        assert told == [3 + 10_000 // CALLS - 2]
        assert run.summary().calls == (3 + 10_000 // CALLS) * CALLS
    assert more <= 0
    assert grown < 5_000


def test_a_listener_hears_of_every_video_of_the_pipeline(pipe):
    told = []
    with videosieve.sparsify(pipe, "svg", min_tokens=0, dense_steps=1) as run:
        run.on_generation(lambda number, summary: told.append((number, summary.calls, summary.courses)))
        for _ in range(3):
            serve(pipe, steps=4)
    assert told == [(number, 32, ("steps 0–3, dense 0, sparse 1–3",)) for number in range(3)]


def test_attaching_and_removing_are_logged_with_the_recipe(pipe, caplog):
    with caplog.at_level(logging.INFO, logger="videosieve"):
        run = videosieve.sparsify(pipe, "svg", density=0.4, min_tokens=0)
        run.remove()
    where = "transformer (WanTransformer3DModel, 4 self-attentions)"
    assert caplog.messages == [f"attached {run.recipe!r} to {where}", f"removed recipe 'svg' from {where}"]
    assert repr(run) == f"<Run of {run.recipe!r} on {where}: 0 calls in its trace>"


def test_two_generations_at_once_on_one_pipeline_are_refused_with_that_reason(pipe):
    """Shallow copies share the scheduler; the second request begins while the first is between two steps."""
    errors, other = [], copy.copy(pipe)

    def second():
        try:
            serve(other, seed=1, steps=4)
        except videosieve.IntegrationError as error:
            errors.append(str(error))

    def interrupt(_pipe, step, _time, tensors):
        if step == 1:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        return tensors

    with videosieve.sparsify(pipe, "svg", min_tokens=0, dense_steps=1) as run:
        run.warns = False
        try:
            pipe(**wan_call(num_inference_steps=4, output_type="latent"), callback_on_step_end=interrupt)
        except videosieve.IntegrationError as error:
            errors.append(str(error))
        assert errors
        assert all("one generation of a pipeline at a time" in error for error in errors)
        untroubled = serve(pipe, steps=4)
        torch.testing.assert_close(serve(pipe, steps=4), untroubled)
