"""Which sequence position is which token: a list of segments, one of them the video grid being generated.

A video transformer attends over one sequence that may hold text, the latent video and other tokens (image
conditions, history). Methods need to know where the video grid lies and nothing about the model it came from.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Annotated, Literal

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.fields import In, OneOf, Whole, check_fields, checked

SegmentKind = Literal["text", "video", "extra", "sequence"]

MOST_TOKENS = 2**31 - 1
"""Longest sequence: kernels count tokens in 32 bits."""

Axis = Annotated[
    int, In("[1, 2147483647]", "must be a whole number: a grid has at least one token on every axis")
]
Length = Annotated[
    int,
    In(
        "[1, 2147483647]",
        "must be a whole number: a segment has at least one token",
        "leave empty segments out",
    ),
]


@dataclass(frozen=True, slots=True)
class Grid:
    """Latent tokens of a video after patching: frames × height × width, stored frame-major.

    Attributes:
        frames: Latent frames, at least 1.
        height: Rows of tokens in a frame, at least 1.
        width: Columns of tokens in a frame, at least 1.
    """

    frames: Axis
    height: Axis
    width: Axis

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)
        if self.tokens > MOST_TOKENS:
            raise ShapeError(f"a grid has at most {MOST_TOKENS:,} tokens, got {self} = {self.tokens:,}")

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width

    def __str__(self) -> str:
        return f"{self.frames}×{self.height}×{self.width}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of one kind.

    Attributes:
        kind: "text", "video" (the grid being generated; exactly one per layout), "extra", or "sequence" (tokens without
            any grid, alone in their layout).
        tokens: Length of the run, at least 1.
        grid: The video grid; given for "video" only.
    """

    kind: Annotated[
        SegmentKind,
        OneOf(
            ("text", "video", "extra", "sequence"), "of a segment is 'text', 'video', 'extra' or 'sequence'"
        ),
    ]
    tokens: Length
    grid: Grid | None = None

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)
        if (self.grid is not None) != (self.kind == "video"):
            raise ShapeError(
                f"a grid belongs to the video segment and to no other, got {self.kind=} and {self.grid=}"
            )
        if self.grid is not None and self.grid.tokens != self.tokens:
            raise ShapeError(f"the grid {self.grid} has {self.grid.tokens} tokens, the segment {self.tokens}")


@dataclass(frozen=True)
class VideoLayout:
    """The segments of an attention sequence, in order.

    Attributes:
        segments: At least one segment; exactly one has kind "video", or the only one has kind "sequence".

    Raises:
        ShapeError: There is not exactly one video segment.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)
        videos = sum(segment.kind == "video" for segment in self.segments)
        if len(self.segments) == 1 and self.is_sequence:
            return
        if self.is_sequence:
            raise ShapeError(
                f"a segment of kind 'sequence' is alone in its layout, got {len(self.segments)} segments"
            )
        if videos != 1:
            raise ShapeError(
                f"a layout has exactly one video segment, got {videos} in {len(self.segments)} segments"
            )

    @classmethod
    def of(
        cls,
        frames: int,
        height: int,
        width: int,
        *,
        text_first: int = 0,
        text_last: int = 0,
        extra_last: int = 0,
    ) -> "VideoLayout":
        """The usual layouts: a video grid with text before it, after it, or none.

        Args:
            frames: Latent frames.
            height: Rows of tokens in a frame.
            width: Columns of tokens in a frame.
            text_first: Text tokens before the video.
            text_last: Text tokens after the video.
            extra_last: Other tokens after the text.

        Returns:
            The layout, empty segments left out.
        """
        grid = Grid(frames, height, width)
        others = {"text_first": text_first, "text_last": text_last, "extra_last": extra_last}
        first, last, extra = (checked(name, tokens, Whole, ShapeError) for name, tokens in others.items())
        sizes: list[tuple[SegmentKind, int, Grid | None]] = [
            ("text", first, None),
            ("video", grid.tokens, grid),
            ("text", last, None),
            ("extra", extra, None),
        ]
        return cls(tuple(Segment(kind, tokens, grid) for kind, tokens, grid in sizes if tokens))

    @classmethod
    def sequence(cls, tokens: int) -> "VideoLayout":
        """A sequence without a video grid, as language models have: methods that ask for the grid refuse it.

        Args:
            tokens: Its length, at least 1.

        Returns:
            The layout.
        """
        return cls((Segment("sequence", tokens),))

    @property
    def is_sequence(self) -> bool:
        """Whether there is no video grid."""
        return any(segment.kind == "sequence" for segment in self.segments)

    @cached_property
    def tokens(self) -> int:
        """Length of the whole sequence."""
        return sum(segment.tokens for segment in self.segments)

    @cached_property
    def grid(self) -> Grid:
        """The video grid; a ShapeError where there is none."""
        if self.is_sequence:
            raise ShapeError(
                f"a sequence of {self.tokens} tokens has no video grid; take a method that needs none: xattention, "
                f"minference_causal, oracle_top_k, random_blocks"
            )
        return next(segment.grid for segment in self.segments if segment.grid is not None)

    @cached_property
    def video(self) -> slice:
        """Positions of the video grid."""
        start = 0
        for segment in self.segments:
            if segment.kind == "video":
                break
            start += segment.tokens
        return slice(start, start + self.grid.tokens)

    @property
    def other_tokens(self) -> int:
        """Tokens outside the video grid: text and extra."""
        return self.tokens - self.grid.tokens

    def in_whole_blocks(self, block: int) -> "VideoLayout":
        """This layout with what lies outside the video rounded to whole blocks.

        A band of blocks has few possible densities. Its width is chosen on this layout, so that a handful of
        text tokens more or less does not change it: both branches of guidance then get the same band.

        Args:
            block: Block side, tokens.

        Returns:
            The layout; segments below half a block are gone.
        """
        parts = []
        for part in self.segments:
            tokens = part.tokens if part.kind == "video" else (part.tokens + block // 2) // block * block
            parts += [replace(part, tokens=tokens)] if tokens else []
        return VideoLayout(tuple(parts))

    def require(self, tokens: int) -> None:
        """Raise a ShapeError unless the layout describes exactly `tokens` positions."""
        if tokens != self.tokens:
            parts = " + ".join(f"{segment.tokens} {segment.kind}" for segment in self.segments)
            raise ShapeError(
                f"the layout must add up to the sequence: {parts} = {self.tokens}, but q has {tokens} tokens; "
                f"pass the grid after patching and the text tokens that are really in the sequence"
            )

    def token_major_order(self, device: torch.device | str = "cpu") -> Tensor:
        """Gather index from frame-major to token-major order; tokens outside the video keep their places.

        Token-major order (row, column, frame) makes one place across all frames contiguous (Sparse VideoGen, §4.2).

        Args:
            device: Where the index is needed.

        Returns:
            int64 [tokens]; `x[..., order, :]` is token-major. A shared tensor: do not write to it.
        """
        return _token_major_order(self, torch.device(device))


@lru_cache(maxsize=16)
def _token_major_order(layout: VideoLayout, device: torch.device) -> Tensor:
    order = torch.arange(layout.tokens)
    video = order[layout.video].view(layout.grid.frames, layout.grid.tokens_per_frame)
    order[layout.video] = video.T.flatten().clone()
    return order.to(device)


def inverse_order(order: Tensor) -> Tensor:
    """The permutation that undoes `order`.

    Args:
        order: int64 permutation [..., tokens].

    Returns:
        int64 [..., tokens] with `x[order][inverse] == x`.
    """
    inverse = torch.empty_like(order)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return inverse.scatter_(-1, order, places)
