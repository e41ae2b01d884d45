"""sieve: compact blocks, kept where leaving them out cannot be repaired, and repaired everywhere else.

This library's own method; no paper. Four ordinary parts: (1) blocks are cubes of video, of the shape that suits each
head; (2) a block that is left out answers with its centroid, as SVG-EAR does for clusters (arXiv:2603.08982); (3) kept
are the blocks whose centroids would err most, estimated as mass × spread of keys × spread of values; (4) the shape of
every head is chosen once a generation, by the error on a few sampled rows, as Sparse VideoGen chooses between two kinds
(arXiv:2502.01776). docs/methods/sieve.md derives it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import OneOf, check_fields
from videosieve.kernels import Centroids, centroid_mass, pool_blocks
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, TokenOrder
from videosieve.methods.cubes import Cubes, cube_name, cube_orders, cubes_for
from videosieve.methods.parameters import Block, share
from videosieve.methods.selection import top_k
from videosieve.methods.sieve_shapes import choose_orders

SHORT_SEQUENCE = 2_048
"""Tokens below which blocks have 32 tokens: with 64 there would be too few to choose among."""

TRIED_QUERIES = 8
"""Queries of a block that speak for it while shapes are tried, where they divide it; what is computed asks all."""

RANKS = ("error", "mass")


@dataclass(frozen=True, slots=True)
class SieveState:
    """What is kept for a generation.

    Attributes:
        shape: int64 [batch, heads]; which cube every head got.
    """

    shape: Tensor


@dataclass(frozen=True, slots=True)
class Sieve(Method):
    """Cubes chosen by what their centroids cannot repair; centroids answer for the rest.

    Attributes:
        density: Share of query–key pairs to compute, in (0, 1]; centroid columns and text included.
        block: Block side, tokens; None takes 128, 64 below 16,384 and 32 below 2,048 tokens.
        cubes: Boxes of frames × rows × columns to choose among, tokens; each should hold `block` tokens. None tries
            four or five; a single one serves all heads.
        rank: "error" ranks blocks by mass × spread of keys × spread of values, "mass" by mass alone.
        centroids: Whether blocks that are left out answer with their centroids.
    """

    name: ClassVar[str] = "sieve"

    density: Annotated[float, share("the share of query–key pairs to compute")] = 0.3
    block: Block = None
    cubes: Cubes = None
    rank: Annotated[str, OneOf(RANKS)] = "error"
    centroids: bool = True

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if self.cubes == ():
            raise RecipeError("cubes is a list of boxes, at least one, got none; None tries several")

    def select(self, call: AttentionCall, state: SieveState | None) -> tuple[Selection, SieveState]:
        """Order the tokens of every head by its cubes, rank blocks, keep the first of every row."""
        side = self.block or (32 if call.tokens < SHORT_SEQUENCE else block_side(None, call.tokens))
        cubes = self.cubes or cubes_for(side)
        orders = cube_orders(call.layout, cubes, call.q.device)
        if state is None:
            keep = partial(self._keep, call, side, queries=TRIED_QUERIES)
            state = SieveState(choose_orders(call, orders, BlockSize(side, side), keep, self.centroids))
        order = orders[0] if len(cubes) == 1 else orders[state.shape]
        keep, centroids = self._keep(call, side, order)
        token_order = TokenOrder(order)
        selection = Selection(
            BlockMask(keep, BlockSize(side, side), call.tokens),
            token_order,
            token_order,
            tuple(map(cube_name, cubes)),
            state.shape,
            compensate=self.centroids,
            centroids=centroids if self.centroids else None,
        )
        return selection, state

    def _keep(
        self, call: AttentionCall, side: int, order: Tensor, queries: int | None = None
    ) -> tuple[Tensor, Centroids]:
        """Kept blocks [batch, heads, rows, columns] in an order of the tokens, and the centroids of all.

        `queries`: how many of every block speak for it, where the order is one for all heads; None asks all.
        """
        blocks = -(-call.tokens // side)
        offsets = (torch.arange(blocks + 1, device=call.q.device) * side).clamp(max=call.tokens)[None, None]
        keys, values = (pool_blocks(x, offsets, order=order) for x in (call.k, call.v))
        log_sizes = offsets.diff().float().log()
        if queries is None or side % queries:
            mass = centroid_mass(call.q, keys.means, log_sizes, offsets, scale=call.scale, order=order)
        else:
            step = side // queries
            some, edges = call.q[:, :, order[::step]], (offsets + step - 1) // step
            mass = centroid_mass(some, keys.means, log_sizes, edges, scale=call.scale)
        rank = mass
        if self.rank == "error":
            rank = mass * (keys.spreads * values.spreads).sqrt().unsqueeze(-2)
        text = torch.arange(blocks, device=rank.device) >= call.layout.grid.tokens // side
        if not call.layout.other_tokens:
            text = torch.zeros_like(text)
        count = blocks_per_row(self.density, side, text)
        keep = top_k(rank.masked_fill(text, torch.inf), count) | text | text[:, None]
        return keep, Centroids(keys.means, values.means, log_sizes)


def blocks_per_row(density: float, side: int, text: Tensor) -> int:
    """Blocks that a row of the video keeps for a density of the whole call.

    Rows of text keep everything; another row computes m of N blocks and the N − m centroids of the rest, each worth one
    key: its density is m/N + (1 − m/N) / side.

    Args:
        density: Share of all query–key pairs, in (0, 1].
        side: Block side, tokens.
        text: bool [blocks]; blocks that hold a token outside the video.

    Returns:
        m, at least 1.
    """
    blocks, full = len(text), int(text.sum()) / len(text)
    wanted = (density - full) / (1 - full) if full < 1 else 1.0
    share = (wanted - 1 / side) / (1 - 1 / side) if side > 1 else wanted
    return min(max(round(share * blocks), 1), blocks)
