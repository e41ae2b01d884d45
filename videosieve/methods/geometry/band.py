"""Bands of blocks for spatial and temporal heads: the geometry of Sparse VideoGen.

A head is *spatial* when its queries look at their own and at neighbouring frames: in frame-major order
those keys lie in a band about the diagonal. It is *temporal* when they look at their own place in every
frame: in token-major order those keys lie in a band about the diagonal too. One band serves both kinds,
each in its own token order.

A block is kept when its nearest query–key pair is less than `width` tokens apart in that order, or when
it holds a token outside the video (text, extra) or, with a first-frame sink, a key of the first frame.
A distance is the same wherever it is measured from, so text before the video does not move the band.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from videosieve.layout import VideoLayout, inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Selection, TokenOrder

HeadKind = Literal["spatial", "temporal"]
KINDS: tuple[HeadKind, HeadKind] = ("spatial", "temporal")


@dataclass(frozen=True, slots=True, eq=False)
class BandPattern:
    """What heads of one kind attend to. Shared between calls: do not write to its tensors.

    Attributes:
        mask: Kept blocks [1, 1, rows, columns], in the order given by the two token orders.
        width: Half-width of the band, tokens: video tokens less than this apart see one another.
        query_order: int64 [tokens]; gather index of the queries. None where they stay frame-major.
        key_order: int64 [tokens]; gather index of keys and values. None where they stay frame-major.
        query_inverse: int64 [tokens]; undoes `query_order`. None where that is None.
        query_block: int64 [tokens]; the block row that computes each token's query.
        key_block: int64 [tokens]; the block column that holds each token's key.
    """

    mask: BlockMask
    width: int
    query_order: Tensor | None
    key_order: Tensor | None
    query_inverse: Tensor | None
    query_block: Tensor
    key_block: Tensor

    def rows(self, tokens: Tensor) -> Tensor:
        """The executed mask of single queries, with queries and keys numbered as in the model.

        Args:
            tokens: int64 [rows]; positions in the sequence.

        Returns:
            bool [1, 1, rows, tokens].
        """
        return self.mask.keep[..., self.query_block[tokens], :][..., self.key_block]

    def orders(self, heads: Tensor | None = None) -> tuple[TokenOrder | None, TokenOrder | None]:
        """Orders of the queries and of the keys for chosen heads.

        Args:
            heads: bool [batch, heads]; heads of this kind. None: all.

        Returns:
            Two token orders; None where tokens stay frame-major.
        """
        if self.query_order is None or self.key_order is None:
            return None, None
        return TokenOrder(self.query_order, heads, self.query_inverse), TokenOrder(self.key_order, heads)


@lru_cache(maxsize=16)
def band_patterns(
    layout: VideoLayout, density: float, block: int | None, first_frame_sink: bool, device: torch.device
) -> tuple[BandPattern, BandPattern]:
    """The bands whose density is the closest achievable one.

    It is chosen with text rounded to whole blocks (`VideoLayout.in_whole_blocks`), so that both branches of guidance
    get one width; the executed density differs from it by less than 2 × block / tokens.

    Args:
        layout: Which token is which.
        density: Share of all query–key pairs to keep, in (0, 1]; text, extra and sink included.
        block: Block side, tokens; None takes 128, or 64 below LONG_SEQUENCE tokens.
        first_frame_sink: Whether every query sees all keys of the first frame.
        device: Where the tensors are needed.

    Returns:
        The spatial and the temporal pattern; the same objects for equal arguments, so that kernels can
        cache a plan with their masks.
    """
    block = block_side(block, layout.tokens)
    whole = layout.in_whole_blocks(block)
    dense = BlockMask.dense(whole.tokens, BlockSize(block, block))
    patterns = []
    for kind in KINDS:
        possible = distances(whole, token_orders(whole, kind, first_frame_sink), block, first_frame_sink)
        width = closest_width(possible, dense, density) if density < 1 else layout.tokens
        orders = token_orders(layout, kind, first_frame_sink)
        keep = distances(layout, orders, block, first_frame_sink) < width
        patterns.append(build_pattern(keep, orders, block, width, device))
    return patterns[0], patterns[1]


def distances(
    layout: VideoLayout, orders: tuple[Tensor, Tensor], block: int, first_frame_sink: bool
) -> Tensor:
    """How far apart the nearest pair of every block is; 0 where the block is kept whatever the width.

    Args:
        layout: Which token is which.
        orders: int64 [tokens] each; gather indices of the queries and of the keys.
        block: Block side, tokens.
        first_frame_sink: Whether every query sees all keys of the first frame.

    Returns:
        int64 [rows, columns], tokens.
    """
    return nearest_pairs(*orders, block).masked_fill(always_kept(layout, block, first_frame_sink), 0)


def build_pattern(
    keep: Tensor, orders: tuple[Tensor, Tensor], block: int, width: int, device: torch.device
) -> BandPattern:
    """Put kept blocks and token orders on a device.

    Args:
        keep: bool [rows, columns].
        orders: int64 [tokens] each; gather indices of the queries and of the keys, one object where equal.
        block: Block side, tokens.
        width: Half-width of the band, tokens.
        device: Where the tensors are needed.

    Returns:
        The pattern.
    """
    tokens = len(orders[0])
    mask = BlockMask(keep[None, None].to(device), BlockSize(block, block), tokens)
    query, key = (order.to(device) for order in orders)
    key = query if orders[0] is orders[1] else key
    moved = not torch.equal(orders[0], torch.arange(tokens))
    query_places, key_places = (inverse_order(order) for order in (query, key))
    shown = (query, key, query_places) if moved else (None, None, None)
    return BandPattern(mask, width, *shown, query_places // block, key_places // block)


def token_orders(layout: VideoLayout, kind: HeadKind, first_frame_sink: bool) -> tuple[Tensor, Tensor]:
    """Gather indices of the queries and of the keys for one kind of head.

    Spatial heads stay frame-major. Temporal heads go token-major; with a first-frame sink their keys go
    first frame first and the other frames token-major behind it, so that whole blocks hold the sink.

    Args:
        layout: Which token is which.
        kind: "spatial" or "temporal".
        first_frame_sink: Whether the keys of the first frame are a sink.

    Returns:
        Two int64 [tokens]; tokens outside the video keep their places.
    """
    frame_major = torch.arange(layout.tokens)
    if kind == "spatial":
        return frame_major, frame_major
    token_major = layout.token_major_order()
    if not first_frame_sink:
        return token_major, token_major
    frames = frame_major[layout.video].view(layout.grid.frames, layout.grid.tokens_per_frame)
    keys = frame_major.clone()
    keys[layout.video] = torch.cat([frames[0], frames[1:].T.flatten()])
    return token_major, keys


def nearest_pairs(query_order: Tensor, key_order: Tensor, block: int) -> Tensor:
    """How far apart the nearest query–key pair of every block is, both placed in the order of the queries.

    Args:
        query_order: int64 [tokens]; gather index of the queries.
        key_order: int64 [tokens]; gather index of the keys. Inside a block their places must ascend; blocks
            where they do not (first-frame sink, text) are kept anyway.
        block: Block side, tokens.

    Returns:
        int64 [rows, columns], tokens; 0 where the stretches of a query and a key block overlap.
    """
    tokens = len(query_order)
    places = inverse_order(query_order)[key_order]
    first = torch.arange(0, tokens, block)
    last = (first + block - 1).clamp(max=tokens - 1)
    before, after = first[:, None] - places[last], places[first] - last[:, None]
    return torch.maximum(before, after).clamp(min=0)


def always_kept(layout: VideoLayout, block: int, first_frame_sink: bool) -> Tensor:
    """Blocks that are kept whatever the width.

    Args:
        layout: Which token is which.
        block: Block side, tokens.
        first_frame_sink: Whether the first video tokens of the key order are the first frame, a sink.

    Returns:
        bool [rows, columns]; True where a query or key lies outside the video or a key is in the sink.
    """
    query = torch.ones(layout.tokens, dtype=torch.bool)
    query[layout.video] = False
    key = query.clone()
    if first_frame_sink:
        key[layout.video.start : layout.video.start + layout.grid.tokens_per_frame] = True
    rows, columns = (
        torch.nn.functional.pad(flags, (0, -layout.tokens % block)).view(-1, block).any(-1)
        for flags in (query, key)
    )
    return rows[:, None] | columns


def closest_width(nearest: Tensor, dense: BlockMask, density: float) -> int:
    """The half-width whose kept share of query–key pairs is closest to a density.

    Args:
        nearest: int64 [rows, columns]; distance of every block, tokens; 0 where it is kept whatever the width.
        dense: A full mask of the same blocks; partial blocks count with their true sizes.
        density: Share to keep, in (0, 1].

    Returns:
        Tokens, at least 1: the blocks on the diagonal always stay.
    """
    widths, index = nearest.unique(return_inverse=True)
    pairs = torch.outer(dense.query_sizes, dense.key_sizes)
    kept = torch.zeros_like(widths).scatter_add_(0, index.flatten(), pairs.flatten()).cumsum(0)
    share = kept.double() / dense.queries**2
    return int(widths[(share - density).abs().argmin()]) + 1


def select_kinds(patterns: Sequence[BandPattern], kind: Tensor, recall: Tensor | None) -> Selection:
    """Join both kinds into one selection: temporal heads are permuted, and one mask serves all where it can.

    Args:
        patterns: The spatial and the temporal pattern.
        kind: int64 [batch, heads]; 0 spatial, 1 temporal.
        recall: fp32 [batch, heads], or None.

    Returns:
        The selection. Its mask is the cached one, with a head axis of 1, unless the kinds have different
        key orders (first-frame sink): then it has one entry per batch element and head.
    """
    spatial, temporal = patterns
    moved, mask = kind.bool(), spatial.mask
    if temporal.query_order is not temporal.key_order:
        keep = torch.where(moved[..., None, None], temporal.mask.keep, spatial.mask.keep)
        mask = BlockMask(keep, mask.block, mask.queries)
    return Selection(mask, *temporal.orders(moved), KINDS, kind, recall)
