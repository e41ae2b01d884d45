"""Where the video lies among packed tokens, from their coordinates alone."""

import torch
from torch import Tensor

from videosieve.layout import Grid


def find_grid(coordinates: Tensor) -> tuple[Grid, int]:
    """The longest run of whole frames whose time rises; of two that are as long the last one.

    Frames look like the one at the end of the sequence: the same rows and columns at one time, row by row. Other frames
    may stand before the video (conditions) or behind it (frames of the window before): they interrupt the rise of
    time, because a video begins at its own first moment. Coordinates need not be evenly spaced.

    Args:
        coordinates: [tokens, 3], at least one token: time, row and column, in any unit.

    Returns:
        The video's grid and the position of its first token.
    """
    width = _trailing(_same_row(coordinates) & _rises(coordinates[:, 2]))
    rows = coordinates[len(coordinates) % width :].reshape(-1, width, 3)
    alike = (rows[:, :, :2] == rows[:, :1, :2]).all(-1).all(-1) & (rows[:, :, 2] == rows[-1, :, 2]).all(-1)
    height = _trailing(alike & (rows[:, 0, 0] == rows[-1, 0, 0]) & _rises(rows[:, 0, 1]))
    side = height * width
    first = len(coordinates) % side
    frames = coordinates[first:].reshape(-1, side, 3)
    whole = (frames[:, :, 0] == frames[:, :1, 0]).all(-1) & (frames[:, :, 1:] == frames[-1, :, 1:]).all(
        -1
    ).all(-1)
    length, place = _longest_rise(frames[:, 0, 0].tolist(), whole.tolist())
    return Grid(length, height, width), first + place * side


def _longest_rise(times: list[float], whole: list[bool]) -> tuple[int, int]:
    """Length and first place of the longest run of whole frames with rising times."""
    longest, first, run = 0, 0, 0
    for place, good in enumerate(whole):
        goes_on = run > 0 and times[place - 1] < times[place]
        run = (run + 1 if goes_on else 1) if good else 0
        if good and run >= longest:
            longest, first = run, place - run + 1
    return longest, first


def _same_row(coordinates: Tensor) -> Tensor:
    return (coordinates[:, :2] == coordinates[-1, :2]).all(-1)


def _rises(values: Tensor) -> Tensor:
    """Whether a larger value follows; true for the last."""
    return torch.cat([values[:-1] < values[1:], torch.ones(1, dtype=torch.bool)])


def _trailing(flags: Tensor) -> int:
    """How many flags hold in a row at the end."""
    return int(flags.flip(0).long().cumprod(0).sum())
