"""Kind E under torch.compile: the clock stays outside of the graphs."""

import pytest
import torch

from videosieve import sparsify
from videosieve.testing.pipelines import tiny_wan, wan_call

OPTIONS = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "block": 8}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compiled_transformer_is_told_the_same_steps_and_branches(when):
    pipe = tiny_wan(layers=1)
    pipe.set_progress_bar_config(disable=True)

    def draw():
        return pipe(**wan_call(num_inference_steps=3, output_type="latent")).frames

    with sparsify(pipe, "svg", **OPTIONS) as run:
        plain = draw()
    wanted = [(r.step, r.branch, r.action) for r in run.trace.records]
    torch._dynamo.reset()
    try:
        if when == "before":
            pipe.transformer.compile(backend="eager")
        with sparsify(pipe, "svg", **OPTIONS) as run:
            if when == "after":
                pipe.transformer.compile(backend="eager")
            for generation in range(2):
                before = len(run.trace)
                torch.testing.assert_close(draw(), plain, rtol=0, atol=1e-5)
                records = run.trace.records[before:]
                assert [(r.step, r.branch, r.action) for r in records] == wanted, generation
    finally:
        torch._dynamo.reset()
