"""Memory that is not zero: NaN inside the block, and outside torch is as it was."""

import torch
from torch.utils import _device

from videosieve.testing.memory import poisoned


def test_what_was_never_written_is_nan_inside_only():
    before = torch.empty, torch.empty_like, torch.Tensor.new_empty
    with poisoned():
        for memory in (torch.empty(3), torch.empty_like(torch.ones(3)), torch.ones(1).new_empty(3)):
            assert memory.isnan().all()
        assert torch.empty(3, dtype=torch.int64).shape == (3,)
    assert (torch.empty, torch.empty_like, torch.Tensor.new_empty) == before


def test_a_device_block_works_afterwards_where_it_is_met_first_inside():
    """Else a model that should have no memory, to count its work, takes all that the machine has."""
    _device._device_constructors.cache_clear()
    with poisoned(), torch.device("meta"):
        assert torch.empty(3).is_meta
    with torch.device("meta"):
        assert torch.empty(3).is_meta
