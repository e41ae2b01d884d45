"""Settings of the whole suite, and the pipeline that most of it generates with."""

import sys
from typing import Any

import pytest
from hypothesis import settings

# A loaded machine is no defect: examples have no time limit.
settings.register_profile("videosieve", deadline=None)
settings.load_profile("videosieve")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which transformer classes the installed diffusers lacks, whose tests were skipped."""
    models = sys.modules.get("videosieve.testing.models")
    missing = sorted({case.cls for case in models.CASES.values() if not case.is_there}) if models else []
    if missing:
        terminalreporter.write_line(f"not in this diffusers, and skipped: {', '.join(missing)}")


@pytest.fixture(scope="session")
def nano() -> Any:
    """A tiny untrained shapes pipeline: 16 frames of 16 × 16 pixels, 256 video tokens, half a second a video."""
    from videosieve.shapes.model import build_networks
    from videosieve.shapes.pipeline import ShapesPipeline

    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    return pipe
