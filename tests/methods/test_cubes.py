"""Cube orders: permutations whose stretches are boxes of video wherever sides divide, and near it elsewhere."""

import pytest
import torch

from videosieve import VideoLayout
from videosieve.methods.cubes import CUBES, cube_orders, cubes_for

CPU = torch.device("cpu")


def places(layout):
    grid = layout.grid
    axes = [torch.arange(n) for n in (grid.frames, grid.height, grid.width)]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], -1)


def extents(layout, cube):
    """Sides of the bounding box of every whole stretch of a cube's volume, [stretches, 3]."""
    side = cube[0] * cube[1] * cube[2]
    (order,) = cube_orders(layout, (cube,), CPU)
    where = places(layout)[order[: layout.grid.tokens] - layout.video.start]
    parts = where[: len(where) // side * side].unflatten(0, (-1, side))
    return parts.amax(1) - parts.amin(1) + 1


@pytest.mark.parametrize("cube", [(2, 4, 4), (4, 2, 4), (8, 2, 2), (1, 4, 8)])
def test_where_sides_divide_every_block_is_its_cube(cube):
    layout = VideoLayout.of(16, 8, 8, text_last=24)
    sides = extents(layout, cube)
    assert (sides == torch.tensor(cube)).all()


@pytest.mark.parametrize(
    "layout",
    [VideoLayout.of(7, 9, 11, text_first=5, text_last=3), VideoLayout.of(3, 5, 5), VideoLayout.of(1, 1, 9)],
    ids=["text on both sides", "smaller than a cube", "a line"],
)
def test_every_order_is_a_permutation_with_the_video_first(layout):
    for side, cubes in CUBES.items():
        assert all(f * h * w == side for f, h, w in cubes)
        for order in cube_orders(layout, cubes, CPU):
            assert order.sort().values.tolist() == list(range(layout.tokens))
            assert order[: layout.grid.tokens].sort().values.tolist() == list(
                range(layout.video.start, layout.video.stop)
            )
            assert order[layout.grid.tokens :].tolist() == sorted(order[layout.grid.tokens :].tolist())


def test_where_sides_do_not_divide_blocks_stay_compact():
    """Wan at 480p, 21 × 30 × 52: a block is nowhere longer than its cube and one more rod."""
    layout = VideoLayout.of(21, 30, 52)
    sides = extents(layout, (4, 4, 4)).double()
    assert sides.prod(-1).mean() < 2 * 64
    assert (sides[:, 0] <= 8).all()
    assert (sides[:, 1] <= 8).all()
    assert (sides[:, 2] <= 8).all()
    lying = torch.arange(layout.tokens)
    rows = places(layout)[lying[: len(lying) // 64 * 64]].unflatten(0, (-1, 64))
    volume = (rows.amax(1) - rows.amin(1) + 1).double().prod(-1)
    assert sides.sum(-1).mean() < (rows.amax(1) - rows.amin(1) + 1).double().sum(-1).mean() / 3
    assert volume.mean() > 64


def test_other_block_sides_get_cubes_of_their_volume():
    assert all(f * h * w == 16 for f, h, w in cubes_for(16) if 16 % (f * h) == 0)
    assert cubes_for(64) == CUBES[64]
