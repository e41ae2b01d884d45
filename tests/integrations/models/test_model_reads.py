"""Naming a forward and laying out its tokens waits for the device once, whatever the model asks for."""

from unittest.mock import patch

from videosieve.integrations.diffusers import attach, sparsify
from videosieve.testing.reads import count_reads, on_device


def test_a_forward_reads_the_device_once(tiny):
    original, reads = attach.read_moment, []

    def counted(*args):
        *others, arguments = args
        with count_reads() as count:
            moment = original(*others, on_device(arguments))
        reads.append(count.reads)
        return moment

    with patch.object(attach, "read_moment", counted), sparsify(tiny.transformer, "dense", steps=2):
        tiny()
    assert reads == [1]
