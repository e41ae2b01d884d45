"""Amdahl's bound."""

import pytest

from videosieve.metrics.amdahl import amdahl_bound


@pytest.mark.parametrize(
    ("share", "density", "bound"), [(0.5, 0.0, 2.0), (0.5, 0.5, 4 / 3), (0.8, 0.25, 2.5), (0.0, 0.1, 1.0)]
)
def test_amdahls_bound(share: float, density: float, bound: float):
    assert amdahl_bound(share, density) == pytest.approx(bound)
