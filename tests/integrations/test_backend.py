"""videosieve as an attention backend of diffusers."""

import pytest
import torch

from videosieve import IntegrationError
from videosieve.integrations.diffusers_backend import register_backend
from videosieve.testing.pipelines import tiny_wan, wan_call


def test_a_model_that_takes_the_backend_attends_through_it():
    call = {"num_inference_steps": 2, "output_type": "latent"}
    pipe = tiny_wan()
    plain = pipe(**wan_call(**call)).frames
    attend = register_backend("xattention", threshold=1.0, min_tokens=0, stride=4, block=16)
    pipe.transformer.set_attention_backend("videosieve")
    try:
        drawn = pipe(**wan_call(**call)).frames
    finally:
        pipe.transformer.set_attention_backend("native")
    torch.testing.assert_close(drawn, plain, rtol=1e-3, atol=1e-4)
    assert {record.action for record in attend.run.trace.records} == {"sparse"}


@pytest.mark.parametrize("method", ["svg", "radial", "adaspa"])
def test_methods_that_need_more_than_tensors_are_refused(method):
    with pytest.raises(IntegrationError, match="sees neither grid nor step.*take one of xattention"):
        register_backend(method)
