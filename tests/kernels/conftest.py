"""Memory that is not zero: kernels must write every value they return."""

import pytest

from videosieve.testing.memory import poisoned


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Fill what torch.empty and its relatives return with NaN, so that reading it before writing shows."""
    with poisoned():
        yield
