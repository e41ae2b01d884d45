"""Memory that is not zero: kernels must write every value they return."""

import pytest
import torch


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """Fill what torch.empty and its relatives return with NaN, so that reading it before writing shows."""

    def poisoned(allocate):
        def allocate_nan(*args, **kwargs):
            memory = allocate(*args, **kwargs)
            return memory.fill_(torch.nan) if memory.is_floating_point() else memory

        return allocate_nan

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
