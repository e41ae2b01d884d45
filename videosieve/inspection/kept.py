"""The executed mask of one head, with queries and keys numbered as in the model whatever order it was computed in."""

import torch
from torch import Tensor

from videosieve.layout import VideoLayout, inverse_order
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods import Selection
from videosieve.methods.base import TokenOrder


class KeptRows:
    """What a selection computed for one head.

    Attributes:
        density: Computed query–key pairs ÷ all pairs, in [0, 1]; for a causal selection of its blocks.
        pattern: Name of the head's pattern; empty where the method has one for all.

    Args:
        selection: What the method decided.
        batch: Batch element.
        head: Head.
    """

    def __init__(self, selection: Selection, batch: int, head: int) -> None:
        self._mask = _one_head(selection.mask, batch, head)
        self._query_places = _places(selection.query_order, batch, head)
        self._key_places = _places(selection.key_order, batch, head)
        self._causal = selection.causal
        self.density = float(self._mask.head_density)
        self.pattern = (
            ""
            if selection.pattern is None
            else selection.patterns[int(_pick(selection.pattern[..., None], batch, head))]
        )

    def __call__(self, rows: Tensor) -> Tensor:
        """The mask of single queries: positions [rows] → bool [rows, tokens]."""
        inside = rows if self._query_places is None else self._query_places[rows]
        kept = self._mask.rows(inside)[0, 0]
        if self._key_places is not None:
            kept = kept[:, self._key_places]
        if self._causal:
            kept = kept & (torch.arange(kept.shape[1], device=kept.device) <= rows[:, None])
        return kept


def name_order(selection: Selection | None, layout: VideoLayout, batch: int, head: int) -> str:
    """The token order in which a head's mask was made: "frame-major", "token-major" or "its own order"."""
    places = None if selection is None else _places(selection.query_order, batch, head)
    if places is None or torch.equal(places.cpu(), torch.arange(layout.tokens)):
        return "frame-major"
    token_major = inverse_order(layout.token_major_order())
    return "token-major" if torch.equal(places.cpu(), token_major) else "its own order"


def _one_head(mask: BlockMask | RaggedBlockMask, batch: int, head: int) -> BlockMask | RaggedBlockMask:
    keep = _pick(mask.keep, batch, head)[None, None]
    if isinstance(mask, BlockMask):
        return BlockMask(keep, mask.block, mask.queries, mask.keys)
    rows, columns = (_pick(x, batch, head)[None, None] for x in (mask.query_offsets, mask.key_offsets))
    return RaggedBlockMask(keep, rows, columns, mask.queries, mask.keys)


def _places(order: TokenOrder | None, batch: int, head: int) -> Tensor | None:
    """Where the order puts every token of a head; None where they stay."""
    if order is None:
        return None
    index = order.index()
    return inverse_order(index if index.ndim == 1 else _pick(index, batch, head))


def _pick(x: Tensor, batch: int, head: int) -> Tensor:
    """One batch element and head of [batch|1, heads|1, …]."""
    return x[batch if x.shape[0] > 1 else 0, head if x.shape[1] > 1 else 0]
