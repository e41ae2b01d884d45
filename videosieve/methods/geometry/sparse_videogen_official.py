"""The authors' own widths and profiling masks of Sparse VideoGen, selected by `profile="official"`.

After github.com/svg-project/Sparse-VideoGen at 5ce7b01, `svg/models/{cog,hyvideo,wan}/{utils,attention}.py`.
The masks follow from token indices, row by row; the authors build them as tokens × tokens tensors.
docs/methods/sparse_videogen.md lists where this differs from the authors' code, and why.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.errors import RecipeError
from videosieve.layout import VideoLayout, inverse_order
from videosieve.methods.geometry.band import (
    KINDS,
    BandPattern,
    HeadKind,
    build_pattern,
    distances,
    token_orders,
)

OFFICIAL_BLOCK = 128
"""Side of the authors' blocks, tokens: FlexAttention's and the staircase's; widths are multiples of it."""

_NOWHERE = 2**40


@dataclass(frozen=True, slots=True)
class Family:
    """How the authors treat one kind of model.

    Attributes:
        round_up: Whether the band width is rounded up to whole blocks; down otherwise.
        closed: Whether the band keeps |q − kv| <= width; |q − kv| < width otherwise.
        sink: Whether the first tokens of the permuted keys, as many as a frame has, are kept by all.
        profile_frames: Half-width of the profiling masks, frames.
        profiled_rows: Rows that profiling draws from, counted from the first token; None for all.
    """

    round_up: bool
    closed: bool
    sink: bool
    profile_frames: float
    profiled_rows: int | None


TEXT_FIRST = Family(round_up=False, closed=False, sink=False, profile_frames=1.5, profiled_rows=None)
TEXT_LAST = Family(round_up=False, closed=False, sink=False, profile_frames=1.5, profiled_rows=10_000)
VIDEO_ONLY = Family(round_up=True, closed=True, sink=True, profile_frames=2.0, profiled_rows=10_000)
"""CogVideoX, HunyuanVideo, and Wan 2.1 with Cosmos."""


class BandWidth(NamedTuple):
    """Half-width of the authors' band.

    Attributes:
        frames: Before rounding, frames of tokens; the authors' width_frame.
        tokens: Rounded to whole blocks, tokens.
    """

    frames: float
    tokens: int


def family_of(layout: VideoLayout) -> Family:
    """The authors' family for a layout.

    Args:
        layout: Which token is which.

    Returns:
        TEXT_FIRST, TEXT_LAST or VIDEO_ONLY.

    Raises:
        RecipeError: There are tokens on both sides of the video.
    """
    before, after = layout.video.start, layout.tokens - layout.video.stop
    if before and after:
        raise RecipeError(
            f"profile='official' needs all other tokens on one side of the video, got {before} before and "
            f"{after} after it; use profile='sound'"
        )
    return TEXT_FIRST if before else TEXT_LAST if after else VIDEO_ONLY


def band_width(density: float, layout: VideoLayout, block: int = OFFICIAL_BLOCK) -> BandWidth:
    """Width of a band that keeps a share of the pairs: density − 2C/S = 1 − (1 − W/S)².

    Args:
        density: Share of the pairs to keep, in (0, 1]; 1 gives all tokens. The authors' `--sparsity`.
        layout: Which token is which: C tokens outside the video, S in all.
        block: The width becomes a multiple of this, tokens, and at least this.

    Returns:
        The width; the sink of video-only layouts is not budgeted, as in the authors' code.
    """
    tokens, frame = layout.tokens, layout.grid.tokens_per_frame
    if density == 1:
        return BandWidth(tokens / frame, tokens)
    budget = density - 2 * layout.other_tokens / tokens
    frames = tokens * (1 - math.sqrt(1 - budget)) / frame
    blocks = frames * frame / block
    whole = math.ceil(blocks) if family_of(layout).round_up else math.floor(blocks)
    return BandWidth(frames, max(1, whole) * block)


def element_density(layout: VideoLayout, width: int, *, always: bool = True) -> float:
    """Share of the pairs that the authors' element rule keeps, summed over rows.

    Args:
        layout: Which token is which.
        width: Half-width of the band, tokens.
        always: Whether to count text rows, text columns and the sink as well as the band.

    Returns:
        A share in [0, 1].
    """
    family, tokens = family_of(layout), layout.tokens
    rows = torch.arange(tokens)
    low = (rows - width + (not family.closed)).clamp(min=0)
    high = (rows + width + family.closed).clamp(max=tokens)
    kept = high - low
    if always:
        first, last = 0, layout.video.start or (layout.grid.tokens_per_frame if family.sink else 0)
        if family is TEXT_LAST:
            first, last = layout.video.stop, tokens
        shared = (high.clamp(max=last) - low.clamp(min=first)).clamp(min=0)
        kept = kept + (last - first) - shared
        kept[: layout.video.start] = kept[layout.video.stop :] = tokens
    return float(kept.sum()) / tokens**2


@lru_cache(maxsize=16)
def official_patterns(
    layout: VideoLayout, density: float, block: int | None, device: torch.device
) -> tuple[BandPattern, BandPattern]:
    """The executed patterns: every block that holds a pair of the authors' element rule, computed whole.

    Args:
        layout: Which token is which.
        density: Share of the pairs to keep, in (0, 1].
        block: Block side, tokens; None takes OFFICIAL_BLOCK.
        device: Where the tensors are needed.

    Returns:
        The spatial and the temporal pattern; both have the same mask.
    """
    block, family = block or OFFICIAL_BLOCK, family_of(layout)
    width = band_width(density, layout, block).tokens + family.closed
    patterns = []
    for kind in KINDS:
        orders = token_orders(layout, kind, first_frame_sink=False)
        keep = distances(layout, orders, block, family.sink) < width
        patterns.append(build_pattern(keep, orders, block, width, device))
    return patterns[0], patterns[1]


@dataclass(frozen=True, slots=True, eq=False)
class ProfileMask:
    """A staircase of blocks about the diagonal, with rows and columns that are always kept.

    Attributes:
        query_stair: int64 [tokens]; the staircase block of every query.
        key_stair: int64 [tokens]; the staircase block of every key.
        reach: Blocks less than this apart are kept.
        full_rows: bool [tokens]; queries that see every key.
        full_columns: bool [tokens]; keys that every query sees.
    """

    query_stair: Tensor
    key_stair: Tensor
    reach: int
    full_rows: Tensor
    full_columns: Tensor

    def rows(self, tokens: Tensor) -> Tensor:
        """The mask of single queries: bool [1, 1, rows, tokens] for int64 [rows] positions."""
        band = (self.query_stair[tokens, None] - self.key_stair).abs() < self.reach
        return (band | self.full_columns | self.full_rows[tokens, None])[None, None]


@lru_cache(maxsize=16)
def official_profile(
    layout: VideoLayout, block: int | None, device: torch.device
) -> tuple[ProfileMask, ProfileMask]:
    """The authors' profiling masks, which do not depend on the density.

    Args:
        layout: Which token is which.
        block: Side of the staircase's blocks, tokens; None takes OFFICIAL_BLOCK.
        device: Where the tensors are needed.

    Returns:
        The spatial and the temporal mask.
    """
    block = block or OFFICIAL_BLOCK
    spatial, temporal = (_profile_mask(layout, kind, block, device) for kind in KINDS)
    return spatial, temporal


def _profile_mask(layout: VideoLayout, kind: HeadKind, block: int, device: torch.device) -> ProfileMask:
    family, frame = family_of(layout), layout.grid.tokens_per_frame
    outside = torch.ones(layout.tokens, dtype=torch.bool)
    outside[layout.video] = False
    if family is TEXT_FIRST and kind == "spatial":
        places = torch.arange(layout.tokens)  # laid from the first text token, not from the first video token
    else:
        places = inverse_order(token_orders(layout, kind, first_frame_sink=False)[0]) - layout.video.start
        places[outside] = _NOWHERE
    full = outside & (family is not TEXT_FIRST or kind == "spatial")  # the other text-first mask has no text
    columns = full | (places < frame) if family.sink else full
    beyond, stair = places >= -(-layout.grid.tokens // block) * block, places // block
    return ProfileMask(
        query_stair=stair.masked_fill(beyond, -_NOWHERE).to(device),
        key_stair=stair.masked_fill(beyond, _NOWHERE).to(device),
        reach=max(1, int(family.profile_frames * frame // block)),
        full_rows=full.to(device),
        full_columns=columns.to(device),
    )


def official_rows(layout: VideoLayout, count: int, generator: torch.Generator) -> Tensor:
    """Draw the rows to profile as the authors do: uniformly, with replacement.

    Args:
        layout: Which token is which.
        count: Rows.
        generator: Source of randomness.

    Returns:
        int64 [count]; video rows where text is first, otherwise some of the first 10,000 rows.
    """
    end = min(family_of(layout).profiled_rows or layout.tokens, layout.tokens)
    return torch.randint(layout.video.start, end, (count,), generator=generator)
