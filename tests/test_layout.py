import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videosieve import ShapeError, VideoLayout
from videosieve.layout import Grid, Segment, inverse_order

sides = st.integers(1, 5)
others = st.integers(0, 4)


def order_by_loop(layout):
    """Frame-major positions in the order (row, column, frame), text and extra tokens where they were."""
    grid, start = layout.grid, layout.video.start
    video = [
        start + frame * grid.height * grid.width + row * grid.width + column
        for row in range(grid.height)
        for column in range(grid.width)
        for frame in range(grid.frames)
    ]
    return [*range(start), *video, *range(layout.video.stop, layout.tokens)]


@given(frames=sides, height=sides, width=sides, first=others, last=others, extra=others)
def test_token_major_order_walks_frames_fastest(frames, height, width, first, last, extra):
    layout = VideoLayout.of(frames, height, width, text_first=first, text_last=last, extra_last=extra)
    order = layout.token_major_order()
    assert order.dtype == torch.int64
    assert order.tolist() == order_by_loop(layout)


def test_token_major_order_is_made_once_for_equal_layouts():
    assert VideoLayout.of(2, 3, 4).token_major_order() is VideoLayout.of(2, 3, 4).token_major_order()


@given(frames=sides, height=sides, width=sides, first=others, last=others, extra=others)
def test_sizes_add_up(frames, height, width, first, last, extra):
    layout = VideoLayout.of(frames, height, width, text_first=first, text_last=last, extra_last=extra)
    video = frames * height * width
    assert layout.tokens == video + first + last + extra
    assert layout.video == slice(first, first + video)
    assert layout.other_tokens == first + last + extra
    assert layout.grid == Grid(frames, height, width)
    assert (layout.grid.tokens, layout.grid.tokens_per_frame) == (video, height * width)


def test_empty_segments_are_left_out():
    assert VideoLayout.of(2, 3, 4) == VideoLayout((Segment("video", 24, Grid(2, 3, 4)),))
    kinds = [
        segment.kind for segment in VideoLayout.of(2, 3, 4, text_first=1, text_last=2, extra_last=3).segments
    ]
    assert kinds == ["text", "video", "text", "extra"]


@given(tokens=st.integers(1, 30), rows=st.integers(1, 3), seed=st.integers(0, 9))
def test_the_inverse_order_undoes_the_order(tokens, rows, seed):
    order = torch.rand(rows, tokens, generator=torch.Generator().manual_seed(seed)).argsort(-1)
    x = torch.arange(tokens).expand(rows, tokens)
    assert torch.equal(x.gather(-1, order).gather(-1, inverse_order(order)), x)


def test_a_layout_of_another_length_is_refused_with_its_parts():
    layout = VideoLayout.of(2, 3, 4, text_first=5, extra_last=1)
    layout.require(30)
    with pytest.raises(
        ShapeError, match=r"5 text \+ 24 video \+ 1 extra = 30, but q has 31 tokens; pass the grid"
    ):
        layout.require(31)


@pytest.mark.parametrize("sides", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_a_grid_has_a_token_on_every_axis(sides):
    with pytest.raises(ShapeError, match="at least one token on every axis"):
        Grid(*sides)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("image", 4), "kind of a segment is 'text', 'video', 'extra' or 'sequence', got kind='image'"),
        (("text", 0), "at least one token, got tokens=0; leave empty segments out"),
        (("text", 24, Grid(2, 3, 4)), "a grid belongs to the video segment and to no other"),
        (("video", 24), "a grid belongs to the video segment and to no other"),
        (("video", 25, Grid(2, 3, 4)), "the grid 2×3×4 has 24 tokens, the segment 25"),
    ],
)
def test_a_segment_that_contradicts_itself_is_refused(arguments, message):
    with pytest.raises(ShapeError, match=message):
        Segment(*arguments)


@pytest.mark.parametrize("videos", [0, 2])
def test_a_layout_has_exactly_one_video(videos):
    segments = (Segment("text", 3), *[Segment("video", 24, Grid(2, 3, 4))] * videos)
    with pytest.raises(ShapeError, match=f"exactly one video segment, got {videos} in {1 + videos} segments"):
        VideoLayout(segments)


def test_what_lies_outside_the_video_is_rounded_to_whole_blocks():
    layout = VideoLayout.of(2, 3, 5, text_first=3, text_last=9, extra_last=20)
    assert layout.in_whole_blocks(8) == VideoLayout.of(2, 3, 5, text_last=8, extra_last=24)
    assert layout.in_whole_blocks(1) == layout


def test_a_sequence_has_tokens_and_no_grid():
    layout = VideoLayout.sequence(100)
    assert layout.tokens == 100
    assert layout.is_sequence
    assert not VideoLayout.of(1, 2, 3).is_sequence
    with pytest.raises(ShapeError, match="no video grid; take a method that needs none"):
        layout.grid  # noqa: B018
    with pytest.raises(ShapeError, match="alone in its layout"):
        VideoLayout((Segment("sequence", 4), Segment("text", 4)))
