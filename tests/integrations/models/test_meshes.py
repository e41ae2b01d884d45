"""Finding the video among packed tokens by their coordinates."""

import pytest
import torch

from videosieve.integrations.diffusers.models.sequences.meshes import find_grid
from videosieve.layout import Grid


def mesh(times, rows=4, columns=6):
    sides = torch.tensor(times), 1.5 * torch.arange(rows), 2.5 * torch.arange(columns)
    axes = torch.meshgrid(*(side.double() for side in sides), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], dim=-1)


@pytest.mark.parametrize(
    ("parts", "grid", "first"),
    [
        ([mesh([0, 1, 9])], Grid(3, 4, 6), 0),
        ([mesh([0]), mesh([0, 1, 9])], Grid(3, 4, 6), 24),  # a condition at the video's own first moment
        ([mesh([9]), mesh([17]), mesh([0, 1, 9])], Grid(3, 4, 6), 48),
        ([mesh([0, 1, 9]), mesh([0, 1])], Grid(3, 4, 6), 0),  # frames of the window before, behind the video
        ([mesh([0, 1, 9]), mesh([9])], Grid(3, 4, 6), 0),  # their first moment is the video's last one
        ([mesh([0, 1]), mesh([0, 1])], Grid(2, 4, 6), 48),  # two that are as long: the last
        ([mesh([0, 5 / 3, 25 / 3, 15])], Grid(4, 4, 6), 0),  # MiniMax-H3's uneven times
        ([mesh([5], 3, 7), mesh([0, 1])], Grid(2, 4, 6), 21),  # a condition of another size
        ([mesh([0])], Grid(1, 4, 6), 0),
        ([mesh([0, 1, 2], 1, 6)], Grid(3, 1, 6), 0),
        ([mesh([0, 1, 2], 4, 1)], Grid(3, 4, 1), 0),
    ],
)
def test_the_video_is_the_longest_run_of_frames_whose_time_rises(parts, grid, first):
    assert find_grid(torch.cat(parts)) == (grid, first)


def test_columns_that_do_not_repeat_end_the_frame():
    coordinates = mesh([0, 1])
    coordinates[30, 2] += 1  # in the second row of the last frame
    grid, first = find_grid(coordinates)
    assert (grid, first) == (Grid(1, 2, 6), 36)
