"""Selections that one guidance branch makes and the others take over, at the same layer and step.

Guidance multiplies the difference between the branches. Where every branch chooses its own blocks, the errors of two
choices differ, and their difference is multiplied too; where both leave out the same blocks, much of it cancels. And
one choice is made instead of two. None of the papers does it: their models have guidance distilled into them, or every
branch chooses. docs/methods/shared_selection.md has what it changes.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videosieve.block_mask import BlockMask
from videosieve.call import AttentionCall, Site
from videosieve.layout import VideoLayout
from videosieve.methods import Selection
from videosieve.methods.base import TokenOrder
from videosieve.methods.packed_mask import PackedMask
from videosieve.ragged_mask import RaggedBlockMask


@dataclass(frozen=True, slots=True)
class Lent:
    """What the first branch of a step has chosen at one layer; a `Selection` but its recall and centroids.

    Centroids are means of keys and values, which differ between branches: the borrower pools its own.

    Attributes:
        site: Where.
        layout: For which tokens.
        mask: The kept blocks, at an eighth of their size where they can be packed.
    """

    site: Site
    layout: VideoLayout
    mask: PackedMask | RaggedBlockMask
    query_order: TokenOrder | None
    key_order: TokenOrder | None
    patterns: tuple[str, ...]
    pattern: Tensor | None
    causal: bool
    compensate: bool

    @classmethod
    def of(cls, call: AttentionCall, chosen: Selection) -> "Lent":
        """Keep the selection of a call."""
        mask = PackedMask.of(chosen.mask) if isinstance(chosen.mask, BlockMask) else chosen.mask
        orders = (chosen.query_order, chosen.key_order)
        rest = (chosen.patterns, chosen.pattern, chosen.causal, chosen.compensate)
        return cls(call.site, call.layout, mask, *orders, *rest)

    def to(self, call: AttentionCall) -> Selection | None:
        """The same choice for the same layer and step of another branch.

        Args:
            call: Of the other branch.

        Returns:
            The selection; None where this one was made at another step or in the same branch, or where the two
            sequences differ by more than the length of the text behind the video.
        """
        if self.site.step != call.site.step or self.site.branch == call.site.branch:
            return None
        mask = self.mask.unpack() if isinstance(self.mask, PackedMask) else self.mask
        orders = (self.query_order, self.key_order)
        selection = Selection(
            mask,
            *orders,
            self.patterns,
            self.pattern,
            causal=self.causal,
            compensate=self.compensate,
        )
        return selection if self.layout == call.layout else _fit(selection, self.layout, call.layout)


def _fit(selection: Selection, old: VideoLayout, new: VideoLayout) -> Selection | None:
    """For another length of text behind the video; blocks that the old sequence did not have are kept."""
    same_kinds = [part.kind for part in old.segments] == [part.kind for part in new.segments]
    if not same_kinds or old.video != new.video or old.grid != new.grid:
        return None
    mask = selection.mask
    if isinstance(mask, RaggedBlockMask):
        rows, columns = (_end_at(x, new.tokens) for x in (mask.query_offsets, mask.key_offsets))
        mask = RaggedBlockMask(mask.keep, rows, columns, new.tokens)
    else:
        rows, columns = -(-new.tokens // mask.block.query), -(-new.tokens // mask.block.key)
        known = mask.keep[..., :rows, :columns]
        keep = known.new_ones(*known.shape[:2], rows, columns)
        keep[..., : known.shape[-2], : known.shape[-1]] = known
        mask = BlockMask(keep, mask.block, new.tokens)
    query_order, key_order = (_refit(order, new) for order in (selection.query_order, selection.key_order))
    return replace(selection, mask=mask, query_order=query_order, key_order=key_order)


def _end_at(offsets: Tensor, tokens: int) -> Tensor:
    """The last block reaches to the new end; blocks behind it are empty."""
    return torch.cat([offsets[..., :-1].clamp(max=tokens), torch.full_like(offsets[..., -1:], tokens)], -1)


def _refit(order: TokenOrder | None, layout: VideoLayout) -> TokenOrder | None:
    """Every order of this library leaves text behind the video where it is."""
    if order is None:
        return None
    behind = torch.arange(layout.video.stop, layout.tokens, device=order.order.device)

    def refit(index: Tensor) -> Tensor:
        return torch.cat([index[..., : layout.video.stop], behind.expand(*index.shape[:-1], -1)], -1)

    return TokenOrder(
        refit(order.order), order.heads, None if order.inverse is None else refit(order.inverse)
    )
