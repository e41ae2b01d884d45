"""What a selection of blocks can reach at best, and what it reaches by chance. For measurement, not for speed.

`oracle_top_k` computes the exact softmax mass of every block, which costs more than dense attention, and keeps the
heaviest. `random_blocks` looks at nothing. A method's recall lies between the two at the same density, or it is broken.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.fields import OneOf, Seed
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.estimates.causal_mass import causal_mass
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.estimates.sampled_rows import generator_for
from videosieve.methods.parameters import Block, share
from videosieve.methods.selection import top_k


@dataclass(frozen=True, slots=True)
class OracleTopK(Method):
    """Upper bound, for measurement only: the blocks of largest exact mass, found at the price of dense attention.

    Attributes:
        density: Share of query–key pairs to keep, in (0, 1]; every row keeps one block at least.
        scope: Which blocks compete: those of a query block ("row": every query block keeps equally many), of a head
            ("head"), or of the whole call ("call": the bound on mean recall, at the cost of queries with thin mass).
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
        causal: No query sees a later key; the diagonal is kept, and counted first. A row then keeps its share of the
            pairs that it may see.
    """

    name: ClassVar[str] = "oracle_top_k"
    causal_name: ClassVar[str] = "oracle_top_k"

    density: Annotated[float, share("the share of query–key pairs to keep")] = 0.3
    scope: Annotated[str, OneOf(("call", "head", "row"))] = "row"
    block: Block = None
    causal: bool = False

    @property
    def is_causal(self) -> bool:
        return self.causal

    @property
    def takes_any_order(self) -> bool:
        return not self.causal

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Exact mass, then the heaviest blocks until the density is spent."""
        side = block_side(self.block, call.keys)
        if self.causal:
            return causal_selection(causal_mass(call, side), call, side, self.density, self.scope), state
        mass = exact_mass(call, side).nan_to_num(0.0)
        dense = BlockMask.dense(call.tokens, BlockSize(side, side), device=mass.device)
        if self.scope == "row":
            keep = top_k(mass, round(self.density * mass.shape[-1]))
        else:
            pairs = torch.outer(dense.query_sizes, dense.key_sizes).expand_as(mass)
            axes = 1 if self.scope == "call" else 2
            best = top_k(mass, 1)  # no row may stay empty
            flat = spend(mass.flatten(axes), pairs.flatten(axes), best.flatten(axes), self.density)
            keep = flat.view(mass.shape)
        mask = BlockMask(keep, dense.block, call.tokens)
        recall = (mass * keep).sum((-1, -2)) / call.tokens
        return Selection(mask, recall=recall), state


def causal_selection(
    mass: Tensor, call: AttentionCall, side: int, density: float, scope: str, *, by_pair: bool = True
) -> Selection:
    """The heaviest blocks that are not ahead, those on the diagonal first, until a share of the causal half is spent.

    Args:
        mass: [batch|1, heads, rows, columns].
        call: The attention call.
        side: Block side, tokens.
        density: Share of the pairs that are not ahead, in (0, 1].
        scope: Which blocks compete, as in OracleTopK.
        by_pair: Whether a block is worth its mass per pair, and recall its mass; else what `mass` says, and unknown.

    Returns:
        The selection.
    """
    whole = BlockMask.dense(call.tokens, BlockSize(side, side), call.keys, mass.device, causal=True)
    pairs = whole.pairs.expand_as(mass)
    first = whole.diagonal.expand_as(mass)
    axes = {"call": 1, "head": 2, "row": 3}[scope]
    worth = mass if by_pair else mass * pairs
    flat = spend(worth.flatten(axes), pairs.flatten(axes), first.flatten(axes), density)
    keep = flat.view(mass.shape) & (pairs > 0)
    recall = (mass * keep).sum((-1, -2)) / call.tokens if by_pair else None
    return Selection(
        BlockMask(keep, whole.block, call.tokens, call.keys, causal=True), recall=recall, causal=True
    )


def spend(mass: Tensor, pairs: Tensor, first: Tensor, density: float) -> Tensor:
    """The blocks of largest mass per pair while a share of all pairs lasts.

    Args:
        mass: [..., blocks].
        pairs: int64, same shape; query–key pairs of every block.
        first: bool, same shape; blocks that are kept in any case, and counted first.
        density: Share of the pairs to keep, in (0, 1].

    Returns:
        bool [..., blocks]. No other choice of as many pairs with these first holds more mass, but for the last block.
    """
    value = (mass / pairs.clamp(min=1)).masked_fill(pairs == 0, -torch.inf).masked_fill(first, torch.inf)
    order = torch.sort(value, dim=-1, descending=True, stable=True).indices
    spent = pairs.gather(-1, order).cumsum(-1)
    kept = spent <= density * pairs.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept) | first


@dataclass(frozen=True, slots=True)
class RandomBlocks(Method):
    """Lower bound, for measurement only: equally many random blocks in every row, another draw per head and call.

    Attributes:
        density: Share of query–key blocks to keep, in (0, 1].
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
        causal: As in OracleTopK; the density is of the pairs.
        seed: With layer and step, what the draw depends on.
    """

    name: ClassVar[str] = "random_blocks"
    causal_name: ClassVar[str] = "random_blocks"

    density: Annotated[float, share("the share of query–key blocks to keep")] = 0.3
    block: Block = None
    seed: Seed = 0
    causal: bool = False

    @property
    def is_causal(self) -> bool:
        return self.causal

    @property
    def takes_any_order(self) -> bool:
        return not self.causal

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Random numbers in place of mass, then row-wise top-k."""
        side = block_side(self.block, call.keys)
        blocks = -(-call.tokens // side)
        if self.causal:
            shape = (1, call.all_heads, blocks, -(-call.keys // side))
            draw = torch.rand(shape, generator=generator_for(self.seed, call.site)).to(call.q.device)
            return causal_selection(
                call.of_these_heads(draw), call, side, self.density, "row", by_pair=False
            ), state
        draw = torch.rand(1, call.all_heads, blocks, blocks, generator=generator_for(self.seed, call.site))
        keep = top_k(call.of_these_heads(draw), round(self.density * blocks)).to(call.q.device)
        return Selection(BlockMask(keep, BlockSize(side, side), call.tokens)), state
