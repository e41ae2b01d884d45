"""DiTFastAttn's window attention with residual sharing: compute a band, add what the last full step had beyond it.

Yuan et al., "DiTFastAttn: Attention Compression for Diffusion Transformer Models", arXiv:2406.08552, §3.2 (WA-RS). At a
full step r the residual R_r = O_r − W_r is kept, with O full and W window attention per head, before the output
projection; at a later step k the output is W_k + R_r. Sharing across steps (AST) and guidance branches (ASC) is the
schedule's work: `schedule/table.py`; `integrations/diffusers/ditfastattn_search.py` searches it.

Deviations: text sees and is seen by everything, the band is on the video alone, and it is rounded up to whole blocks.
More, and the defects of the reference that are not repeated: docs/methods/ditfastattn.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import RecipeError
from videosieve.fields import Fraction, Says, Whole
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State, attend_selected
from videosieve.methods.geometry.band import always_kept, nearest_pairs
from videosieve.methods.parameters import Block

Neighbours = Annotated[
    Fraction | Whole,
    Says(
        "must be a fraction of the video tokens in [0.0, 1.0] or a count >= 0",
        "write a count without a decimal point",
    ),
]


@dataclass(frozen=True, slots=True)
class WindowState:
    """What a full step leaves to the window steps after it.

    Attributes:
        residual: [batch, heads, video tokens, head_dim]; full minus window attention. Text rows have none: their window
            is everything.
        step: Of the full step.
    """

    residual: Tensor
    step: int


@dataclass(frozen=True, slots=True)
class WindowResidual(Method):
    """A band about the diagonal, plus the residual of the last full step.

    Attributes:
        window: Video tokens seen on either side: a fraction of the video tokens as a float in [0, 1], or a count as an
            int >= 0. Tokens |i − j| <= window see one another.
        residual: Whether the residual is added; False is window attention alone.
        first_frame_sink: Whether every query sees all keys of the first frame.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
    """

    name: ClassVar[str] = "window_residual"
    shares_state: ClassVar[bool] = True

    window: Neighbours = 0.125
    residual: bool = True
    first_frame_sink: bool = False
    block: Block = None

    def select(self, call: AttentionCall, state: WindowState | None) -> tuple[Selection, State]:
        """The window; every block where a residual is wanted and there is none yet."""
        mask = self._mask(call)
        if self.residual and state is None:
            mask = BlockMask.dense(call.tokens, mask.block, device=call.q.device)
        return Selection(mask), state

    def observe(self, call: AttentionCall, result: AttentionResult, state: State) -> State:
        """Where every block was computed for want of a residual, that was a full step."""
        return self.observe_dense(call, result.output, None) if self.residual and state is None else state

    def observe_dense(self, call: AttentionCall, output: Tensor, state: State) -> State:
        """R = O − W at a full step that window steps follow."""
        if not self.residual:
            return state
        window = attend_selected(call, Selection(self._mask(call))).output
        video = call.layout.video
        return WindowState(output[:, :, video] - window[:, :, video], call.site.step)

    def correct(self, call: AttentionCall, output: Tensor, state: WindowState | None) -> Tensor:
        """W + R, after a window step; a full step, which has just made its residual, is right as it is."""
        if state is not None and state.step != call.site.step:
            output[:, :, call.layout.video] += fit_batch(state.residual, call.batch)
        return output

    def _mask(self, call: AttentionCall) -> BlockMask:
        video = call.layout.grid.tokens
        if isinstance(self.window, int) and self.window >= video:
            raise RecipeError(
                f"the window must be narrower than the video, got window={self.window} and {video} video tokens; "
                f"write 1.0 for all of them"
            )
        width = self.window if isinstance(self.window, int) else int(self.window * video + 1e-9)
        side = block_side(self.block, call.tokens)
        return window_mask(call.layout, width, side, self.first_frame_sink, call.q.device)


@lru_cache(maxsize=16)
def window_mask(
    layout: VideoLayout, window: int, block: int, first_frame_sink: bool, device: torch.device
) -> BlockMask:
    """Blocks that hold a video pair at most `window` tokens apart, or any token outside the video.

    Args:
        layout: Which token is which.
        window: Tokens on either side, the last one included.
        block: Block side, tokens.
        first_frame_sink: Whether every query sees all keys of the first frame.
        device: Where the mask is needed.

    Returns:
        A mask [1, 1, rows, columns]; the same object for equal arguments, so that kernels can cache a plan with it.
    """
    order = torch.arange(layout.tokens)
    keep = always_kept(layout, block, first_frame_sink) | (nearest_pairs(order, order, block) <= window)
    return BlockMask(keep[None, None].to(device), BlockSize(block, block), layout.tokens)


def fit_batch(residual: Tensor, batch: int) -> Tensor:
    """The residual for a call with one guidance branch or with both, the unconditional half first.

    Where branches have shared an output they share its residual too; a call with the conditional branch alone takes
    that half.

    Args:
        residual: [kept batch, heads, tokens, head_dim].
        batch: Of the call; the kept batch, half or twice it.

    Returns:
        [batch, heads, tokens, head_dim].
    """
    kept = residual.shape[0]
    if batch == 2 * kept:
        return torch.cat([residual, residual])
    return residual[kept - batch :]
