"""Radial Attention: the further apart two frames, the narrower the band of places that see one another.

Li et al., "Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation",
arXiv:2506.19852. One static mask for all heads: frames next to one another see each other in full; with every doubling
of their distance the band halves; once it is narrower than a block, it stays a block and only every n-th frame has it.

Deviations: blocks never straddle two frames, so a block stands for one frame and one stretch of places, and is kept by
the distance of the stretches' middles. The LoRA training for longer videos is no part of this. docs/methods/radial.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.fields import In, OneOf
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.block_side import block_side
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tiling, tile_frames
from videosieve.methods.parameters import Block, share

WIDTHS = ("paper", "official")


@dataclass(frozen=True, slots=True)
class RadialAttention(Method):
    """A static band per frame distance that halves with every doubling of the distance.

    Attributes:
        density: Share of query–key pairs to keep, in (0, 1]; the decay that comes closest is taken. None uses `decay`.
        decay: Factor on the width of the band between frames two or more apart, above 0. The authors' decay_factor.
        widths: "paper": the band of frames D apart is tokens per frame ÷ 2^⌊log2 D⌋ wide; "official": 2^bit_length
            (tokens per frame) ÷ 2^bit_length(D), at least a block, as in the authors' code.
        first_frame_sink: Whether every query sees all keys of the first frame, as the authors do for Wan.
        block: Longest stretch of places that is kept or dropped as one, tokens; None takes 128, or 64 below 16,384
            tokens.
        decay_thins: Whether a band that `decay` makes narrower than a block is also in fewer frames. True is ours; the
            authors' code thins frames by the width before `decay`.
    """

    name: ClassVar[str] = "radial"

    density: Annotated[float, share("the share of query–key pairs to keep")] | None = None
    decay: Annotated[float, In("(0, inf)", "is a factor on the width of the bands, finite and above 0")] = 1.0
    widths: Annotated[str, OneOf(WIDTHS)] = "paper"
    first_frame_sink: bool = False
    block: Block = None
    decay_thins: bool = True

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """The static mask of this layout."""
        side = block_side(self.block, call.tokens)
        return radial_selection(self, call.layout, side, call.q.device), state


@lru_cache(maxsize=16)
def radial_selection(
    method: RadialAttention, layout: VideoLayout, side: int, device: torch.device
) -> Selection:
    """The mask of a layout; the same object for equal arguments, so that kernels can cache a plan with it.

    Args:
        method: Decay or density, widths and sink.
        layout: Which token is which.
        side: Longest stretch, tokens.
        device: Where the tensors are needed.

    Returns:
        The selection.
    """
    whole = layout.in_whole_blocks(side)  # one mask for both branches of guidance
    cpu = tile_frames(whole, side, torch.device("cpu"))
    decays = [method.decay] if method.density is None else _candidates(layout.grid.frames)
    tables = (band_table(whole, cpu, side, decay, method) for decay in decays)
    masks = (cpu.mask(_by_frames(table, method.first_frame_sink)) for table in tables)
    best: BlockMask | RaggedBlockMask = min(masks, key=lambda mask: abs(mask.density - (method.density or 1)))
    tiling = tile_frames(layout, side, device)
    blocks = tiling.video_blocks
    return tiling.selection(tiling.mask(best.keep[..., :blocks, :blocks].to(device)))


def band_table(
    layout: VideoLayout, tiling: Tiling, side: int, decay: float, method: RadialAttention
) -> Tensor:
    """Which stretches of two frames see one another.

    Args:
        layout: Which token is which.
        tiling: Frames cut into stretches.
        side: Longest stretch, tokens.
        decay: Factor on the width.
        method: Widths, and what thins the frames.

    Returns:
        bool [frames, stretches, stretches]; by the distance of the frames.
    """
    edges = tiling.offsets[0, 0, : tiling.counts[2] + 1].double()
    middle = (edges[1:] + edges[:-1]) / 2
    apart = (middle[:, None] - middle).abs()
    keep = [torch.ones_like(apart, dtype=torch.bool)] * min(2, layout.grid.frames)
    for distance in range(2, layout.grid.frames):
        plain = band_width(layout.grid.tokens_per_frame, distance, method.widths)
        width = decay * plain
        thinned = distance % max(int(side / (width if method.decay_thins else plain)), 1) != 0
        reach = max(width, side) if method.widths == "official" else width
        keep.append((apart <= reach) & (not thinned))
    return torch.stack(keep)


def band_width(tokens_per_frame: int, distance: int, widths: str) -> float:
    """Half-width of the band between frames `distance` ≥ 1 apart, tokens."""
    if widths == "official":
        return 2.0 ** (tokens_per_frame.bit_length() - distance.bit_length())
    return tokens_per_frame / 2 ** (distance.bit_length() - 1)


def _by_frames(table: Tensor, first_frame_sink: bool) -> Tensor:
    """From frame distances to blocks: bool [1, 1, video blocks, video blocks]."""
    frame = torch.arange(len(table))
    keep = table[(frame[:, None] - frame).abs()]  # [frames, frames, stretches, stretches]
    if first_frame_sink:
        keep[:, 0] = True
    return keep.transpose(1, 2).flatten(2).flatten(0, 1)[None, None]


def _candidates(frames: int) -> list[float]:
    """Decays a quarter of an octave apart, from almost nothing to everything."""
    return [2 ** (octave / 4) for octave in range(-56, 4 * frames.bit_length() + 5)]
