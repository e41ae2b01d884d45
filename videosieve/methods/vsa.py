"""VSA's coarse stage alone, without its trained parts: mean-pooled cubes choose the cubes to compute.

Zhang et al., "VSA: Faster Video Diffusion with Trainable Sparse Attention", arXiv:2505.13389. The paper trains a model
with two branches, a coarse one over cubes and a fine one over the cubes that the coarse scores rank highest, added with
a learned gate. The gate starts at zero, and with it at zero the output is the fine branch alone: that is what this is,
a selection by mean-pooled scores in cube order, for a model that was never trained for it. It is a baseline, and none
of the paper's figures hold for it.

Deviations: docs/methods/vsa.md.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from videosieve.call import AttentionCall
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.geometry.tiles import Tile, tile_of, tile_video
from videosieve.methods.parameters import share
from videosieve.methods.selection import top_k

CUBE = (4, 4, 4)


@dataclass(frozen=True, slots=True)
class VsaCoarse(Method):
    """Row-wise top-k of mean-pooled scores between cubes of tokens; VSA without training.

    Attributes:
        density: Share of the video's cubes that every cube of queries sees, in (0, 1]; blocks of text come on top.
        tile: Longest sides of a cube, tokens along frames, rows and columns; None takes the paper's (4, 4, 4).
    """

    name: ClassVar[str] = "vsa_coarse"

    density: Annotated[float, share("the share of the video's cubes that every cube of queries sees")] = 0.25
    tile: Tile | None = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Pool, score, keep the k best cubes of every row."""
        tiling = tile_video(call.layout, tile_of(self.tile, call.layout, CUBE, CUBE), call.q.device)
        scores = tiling.means(call.q) @ tiling.means(call.k).mT * call.scale
        count = math.ceil(self.density * tiling.video_blocks - 1e-9)
        return tiling.selection(tiling.mask(top_k(scores, count))), state
