"""How fast a written video plays: the rate where nobody names one, and which rates can be played."""

from videosieve.errors import OutputError

FRAME_RATE = 8.0
"""Frames per second of a written video where nobody says otherwise."""


def check_fps(fps: float) -> None:
    """Raise an OutputError unless `fps` is a rate that can be played."""
    if not 0 < fps <= 240:
        raise OutputError(f"fps must lie in (0, 240], got {fps}")
