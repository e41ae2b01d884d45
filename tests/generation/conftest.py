"""A tiny untrained shapes pipeline: 16 frames of 16 × 16 pixels, 256 video tokens, half a second a video."""

from typing import Any

import pytest

from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline


@pytest.fixture(scope="session")
def nano() -> Any:
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    return pipe
