"""The clock reads the device once per forward."""

from unittest.mock import patch

import pytest
import torch

from videosieve import sparsify
from videosieve.integrations.diffusers import attach
from videosieve.testing import pipelines as tiny
from videosieve.testing.reads import OnDevice, count_reads, on_device

CASES = {
    "timestep alone": (tiny.tiny_wan, tiny.wan_call, {}),
    "text masks": (tiny.tiny_hunyuanvideo, tiny.hunyuanvideo_call, {"prompt": ["a cat", "a red dog runs"]}),
    "both branches in a batch": (tiny.tiny_cogvideox, tiny.cogvideox_call, {}),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_forward_reads_the_device_once(kind):
    make, call, options = CASES[kind]
    pipe, original, reads = make(), attach.read_moment, []
    pipe.set_progress_bar_config(disable=True)

    def counted(*args):
        *others, arguments = args
        with count_reads() as count:
            moment = original(*others, on_device(arguments))
        reads.append(count.reads)
        return moment

    with patch.object(attach, "read_moment", counted), sparsify(pipe, "dense"):
        pipe(**call(num_inference_steps=3, output_type="latent", **options))
    assert reads
    assert set(reads) == {1}


def test_reads_of_what_is_computed_on_the_device_are_counted_and_those_of_copies_are_not():
    x = on_device({"x": torch.arange(4.0)})["x"]
    with count_reads() as count:
        (x + 1).sum().item()
        bool((x > 1).any())
        copied = (2 * x).cpu()
        assert not isinstance(copied, OnDevice)
        assert copied[1:].tolist() == [2, 4, 6]
    assert count.reads == 3
