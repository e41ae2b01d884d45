"""DraftAttention: attention at low resolution says which blocks to compute at full resolution.

Shen et al., "DraftAttention: Fast Video Diffusion via Low-Resolution Attention Guidance", arXiv:2505.14708. Every frame
is cut into tiles of 8 × 16 tokens; the softmax of the averaged queries and keys is the draft; the tokens are put in
tile order, so that an entry of the draft is a block; the heaviest entries of each head are computed.

Deviations: any grid (the authors' code takes one); no query block is left without keys, theirs can be; the number of
blocks is exact, theirs one more. All deviations: docs/methods/draft.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tile, tile_of, tile_video
from videosieve.methods.parameters import share
from videosieve.methods.selection import top_k

LONG_TILE, SHORT_TILE = (1, 8, 16), (1, 8, 8)


@dataclass(frozen=True, slots=True)
class DraftAttention(Method):
    """The heaviest entries of a low-resolution attention map, per head.

    Attributes:
        density: Share of the video's query–key blocks that a head keeps, in (0, 1]; blocks of text come on top.
            1 − the paper's sparsity ratio.
        tile: Longest sides of a tile, tokens along frames, rows and columns; None takes the paper's (1, 8, 16), or
            (1, 8, 8) below 16,384 tokens.
    """

    name: ClassVar[str] = "draft"

    density: Annotated[float, share("the share of the video's query–key blocks that a head keeps")] = 0.25
    tile: Tile | None = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Down-sample, draft, keep the heaviest entries, compute them in tile order."""
        tile = tile_of(self.tile, call.layout, LONG_TILE, SHORT_TILE)
        tiling = tile_video(call.layout, tile, call.q.device)
        draft = (tiling.means(call.q) @ tiling.means(call.k).mT * call.scale).softmax(-1)
        return tiling.selection(tiling.mask(heaviest_entries(draft, self.density))), state


def heaviest_entries(draft: Tensor, density: float) -> Tensor:
    """The entries of largest mass of every head, and the largest of every row.

    Args:
        draft: [batch, heads, rows, columns].
        density: Share of the entries to keep, in (0, 1].

    Returns:
        bool, same shape. The largest of every row count first, so the share is met where it can be.
    """
    best = top_k(draft, 1)
    flat = draft.nan_to_num(0.0).masked_fill(best, float("inf")).flatten(2).unsqueeze(2)
    keep = top_k(flat, round(density * flat.shape[-1]))
    return keep.view(draft.shape) | best
