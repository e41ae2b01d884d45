"""Rates that can be played, and the one that is taken where nobody names one."""

import dataclasses
import inspect

import pytest

from videosieve import SaliencyMaps
from videosieve.batch import Order
from videosieve.comparison.plan import Plan
from videosieve.errors import OutputError
from videosieve.frame_rate import FRAME_RATE, check_fps


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1000])
def test_rates_that_cannot_be_played_are_refused(fps: float):
    with pytest.raises(OutputError, match="fps"):
        check_fps(fps)


def test_every_default_is_the_same_rate():
    defaults = [
        field.default for cls in (Plan, Order) for field in dataclasses.fields(cls) if field.name == "fps"
    ]
    defaults.append(inspect.signature(SaliencyMaps.save).parameters["fps"].default)
    assert defaults == [FRAME_RATE] * 3
    check_fps(FRAME_RATE)
