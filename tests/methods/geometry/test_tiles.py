"""Tilings: every token once, tiles are boxes, nothing is padded; the Hilbert curve."""

from itertools import chain, pairwise

import pytest
import torch

from videosieve import BlockMask, RecipeError, VideoLayout
from videosieve.layout import Grid
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.draft import DraftAttention
from videosieve.methods.geometry.hilbert import hilbert_index, hilbert_order
from videosieve.methods.geometry.tiles import tile_frames, tile_of, tile_video
from videosieve.testing.factories import make_call

CPU = torch.device("cpu")
LAYOUTS = {
    "whole tiles": VideoLayout.of(4, 8, 8),
    "whole tiles, text last": VideoLayout.of(4, 8, 8, text_last=70),
    "text first": VideoLayout.of(4, 8, 8, text_first=5),
    "odd": VideoLayout.of(5, 7, 9, text_first=3, extra_last=80),
    "smaller than a tile": VideoLayout.of(3, 2, 2),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def blocks_of_tokens(tiling):
    order = torch.arange(tiling.tokens) if tiling.order is None else tiling.order
    ends = tiling.offsets[0, 0].tolist()
    return [order[a:b].tolist() for a, b in pairwise(ends)]


@layouts
def test_a_tile_is_a_box_and_the_tiles_are_the_video(layout):
    tiling = tile_video(layout, (4, 4, 4), CPU)
    blocks = blocks_of_tokens(tiling)
    assert sorted(chain.from_iterable(blocks)) == list(range(layout.tokens))
    grid = layout.grid
    sizes = set()
    for block in blocks[: tiling.video_blocks]:
        places = [token - layout.video.start for token in block]
        axes = [
            {p // grid.tokens_per_frame for p in places},
            {p // grid.width % grid.height for p in places},
            {p % grid.width for p in places},
        ]
        assert len(places) == len(axes[0]) * len(axes[1]) * len(axes[2])
        assert all(len(axis) == max(axis) - min(axis) + 1 <= 4 for axis in axes)
        assert places == sorted(places)
        sizes.add(tuple(map(len, axes)))
    assert all(max(axis) - min(axis) <= 1 for axis in zip(*sizes, strict=True))
    for block in blocks[tiling.video_blocks :]:
        assert not set(block) & set(range(layout.tokens)[layout.video])


@layouts
def test_frames_are_cut_alike_and_never_joined(layout):
    tiling = tile_frames(layout, 20, CPU)
    blocks = blocks_of_tokens(tiling)
    per_frame = tiling.counts[2]
    assert sorted(chain.from_iterable(blocks)) == list(range(layout.tokens))
    for i, block in enumerate(blocks[: tiling.video_blocks]):
        frame = [(token - layout.video.start) // layout.grid.tokens_per_frame for token in block]
        assert set(frame) == {i // per_frame}
        assert len(block) == len(blocks[i % per_frame]) <= 20
        assert block == list(range(block[0], block[0] + len(block)))


@layouts
def test_blocks_of_one_size_make_a_plain_mask(layout):
    tiling = tile_video(layout, (4, 4, 4), CPU)
    sizes = tiling.sizes.tolist()
    mask = tiling.mask(torch.zeros(1, 1, tiling.video_blocks, tiling.video_blocks, dtype=torch.bool))
    plain = len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0]
    assert isinstance(mask, BlockMask if plain else RaggedBlockMask)
    assert mask.query_sizes.flatten().tolist() == sizes
    outside = torch.arange(len(sizes)) >= tiling.video_blocks
    assert torch.equal(mask.keep[0, 0], outside | outside[:, None])


@layouts
def test_means_are_means_and_passes_change_nothing(layout, monkeypatch):
    call = make_call(layout, batch=2)
    tiling = tile_video(layout, (4, 4, 4), CPU)
    expected = [call.q[:, :, block].mean(2) for block in blocks_of_tokens(tiling)[: tiling.video_blocks]]
    torch.testing.assert_close(tiling.means(call.q), torch.stack(expected, 2))
    monkeypatch.setattr("videosieve.methods.geometry.tiles.VALUES_AT_ONCE", 1)
    torch.testing.assert_close(tiling.means(call.q), torch.stack(expected, 2))


def test_a_tile_is_chosen_by_length():
    assert tile_of(None, VideoLayout.of(4, 8, 8), (6, 8, 8), (4, 4, 4)) == (4, 4, 4)
    assert tile_of(None, VideoLayout.of(16, 32, 32), (6, 8, 8), (4, 4, 4)) == (6, 8, 8)
    assert tile_of((1, 2, 3), VideoLayout.of(16, 32, 32), (6, 8, 8), (4, 4, 4)) == (1, 2, 3)


@pytest.mark.parametrize("tile", [(4, 4), (4, 4, 0), (4, 4, 2.0), 4, "abc", (True, 1, 1)])
def test_what_is_no_tile_is_refused(tile):
    with pytest.raises(RecipeError, match="tile has three sides"):
        DraftAttention(tile=tile)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_a_hilbert_curve_takes_one_step_at_a_time(side):
    grid = Grid(side, side, side)
    index = hilbert_index(grid)
    assert sorted(index.tolist()) == list(range(grid.tokens))
    points = torch.cartesian_prod(*[torch.arange(side)] * 3)[index.argsort()]
    assert (points.diff(dim=0).abs().sum(-1) == 1).all()


def test_a_hilbert_order_is_a_permutation_of_the_video_alone():
    layout = VideoLayout.of(5, 7, 9, text_first=3, text_last=4)
    order = hilbert_order(layout, CPU)
    assert order.sort().values.tolist() == list(range(layout.tokens))
    outside = [*range(3), *range(layout.video.stop, layout.tokens)]
    assert order[outside].tolist() == outside
    points = torch.stack(torch.unravel_index(order[layout.video] - 3, (5, 7, 9)), 1).float()
    steps = points.diff(dim=0).norm(dim=-1)
    assert steps.mean() < 1.5
    assert not torch.equal(order, torch.arange(layout.tokens))


@pytest.mark.parametrize("grid", [Grid(1, 1, 1), Grid(1, 2, 3), Grid(2, 1, 1)])
def test_small_grids_have_a_curve_too(grid):
    assert len(set(hilbert_index(grid).tolist())) == grid.tokens
