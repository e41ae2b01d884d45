"""LVSA: every frame attends to a few anchor frames, which move on from step to step, and to the frames around it.

Glorian et al., "LVSA: Training-Free Sparse Attention for Long Video Diffusion", arXiv:2605.31057. A pattern of frames,
the same for all heads: A(t) = G ∪ W(t). Anchors G are the first frame and every so manieth one, their grid shifted by
one frame at every denoising step; the window W(t) holds 2W + 1 frames about t that are no anchors, and is moved at the
ends of the video. How far anchors lie apart follows from how many frames the model was trained on: a frame attends to
about as many.

Frames are cut into blocks of their own, so that the pattern is exact. Deviations: docs/methods/lvsa.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.fields import Count, Whole
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.block_side import block_side
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tiling, tile_frames
from videosieve.methods.parameters import Block, share


@dataclass(frozen=True, slots=True)
class Lvsa(Method):
    """Rotating anchor frames and a window of frames.

    Attributes:
        window: Frames of the latent video on either side of the query's; 0 leaves the window out. The authors' W.
        first_frames: Frames at the beginning that are anchors at every step.
        reference_frames: Latent frames that the model was trained on: about as many are attended. Shorter videos are
            attended in full. The authors' C: 21 for Wan 2.1, 33 for HunyuanVideo-1.5.
        density: Share of the video's frames that every frame attends to, in (0, 1], in place of `reference_frames`.
        block: Longest block, tokens; None takes 128, or 64 below 16,384 tokens. Frames are cut evenly.
    """

    name: ClassVar[str] = "lvsa"

    window: Whole = 3
    first_frames: Whole = 1
    reference_frames: Count = 21
    density: Annotated[float, share("the share of the video's frames that every frame attends to")] | None = (
        None
    )
    block: Block = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """The frames' pattern of this step, in blocks of frames."""
        tiling = tile_frames(call.layout, block_side(self.block, call.tokens), call.q.device)
        frames = call.layout.grid.frames
        reference = self.reference_frames if self.density is None else max(round(self.density * frames), 1)
        apart = anchor_distance(frames, self.window, self.first_frames, reference)
        pattern = frames, self.window, self.first_frames, apart, call.site.step % apart
        return tiling.selection(_mask(tiling, *pattern)), state


def anchor_distance(frames: int, window: int, first_frames: int, reference: int) -> int:
    """How far anchors lie apart, so that a frame attends to about `reference` frames: the authors' `compute_auto_kfi`.

    Args:
        frames: Latent frames of the video.
        window: Frames on either side of the query's.
        first_frames: Anchors at the beginning.
        reference: Frames to attend to.

    Returns:
        At least 1; 1 makes every frame an anchor.
    """
    reference = max(first_frames + 1, reference)
    if frames <= reference:
        return 1
    wanted = max(first_frames, reference - min(2 * window + 1, frames))
    exact = next(
        (apart for apart in range(frames, 0, -1) if len(anchors(frames, first_frames, apart, 0)) >= wanted),
        1,
    )
    given = 2 * window + first_frames
    rough = ceil(max(frames - given, reference - given) / max(reference - given, 1))
    return max(exact, rough)


def anchors(frames: int, first_frames: int, apart: int, shift: int) -> set[int]:
    """The anchor frames: the first ones, and every `apart`-th from `shift` on, round the end."""
    rotating = ((shift + i * apart) % frames for i in range(ceil(frames / apart)))
    return {*range(min(first_frames, frames)), *rotating}


def window_of(frame: int, frames: int, window: int, anchored: set[int]) -> range:
    """Frames about `frame`, as many that are no anchors as 2 · window + 1 or as there are.

    Args:
        frame: The query's.
        frames: Latent frames of the video.
        window: Frames on either side; 0 gives none.
        anchored: The anchors.

    Returns:
        Neighbouring frames: first moved inwards at the ends of the video, then widened to both sides by turns.
    """
    if window == 0:
        return range(0)
    first = max(0, min(frame - window, frames - 1 - 2 * window))
    last = min(frames - 1, max(frame + window, 2 * window))
    wanted = min(2 * window + 1, frames - len(anchored))
    others = sum(other not in anchored for other in range(first, last + 1))
    while others < wanted and (first > 0 or last < frames - 1):
        if first > 0:
            first -= 1
            others += first not in anchored
        if others < wanted and last < frames - 1:
            last += 1
            others += last not in anchored
    return range(first, last + 1)


def frame_pattern(frames: int, window: int, first_frames: int, apart: int, shift: int) -> Tensor:
    """Which frames attend to which.

    Args:
        frames: Latent frames of the video.
        window: As in `window_of`.
        first_frames: As in `anchors`.
        apart: As in `anchors`.
        shift: As in `anchors`.

    Returns:
        bool [frames, frames].
    """
    anchored = anchors(frames, first_frames, apart, shift)
    keep = torch.zeros(frames, frames, dtype=torch.bool)
    keep[:, sorted(anchored)] = True
    for frame in range(frames):
        keep[frame, list(window_of(frame, frames, window, anchored))] = True
    return keep


@lru_cache(maxsize=64)
def _mask(
    tiling: Tiling, frames: int, window: int, first_frames: int, apart: int, shift: int
) -> BlockMask | RaggedBlockMask:
    """The same object for equal arguments, so that kernels can cache a plan."""
    keep = frame_pattern(frames, window, first_frames, apart, shift)
    per_frame = tiling.video_blocks // frames
    keep = keep.repeat_interleave(per_frame, 0).repeat_interleave(per_frame, 1)
    return tiling.mask(keep[None, None].to(tiling.offsets.device))
