"""Selections that one guidance branch makes and the others take over, at the same layer and step.

Guidance multiplies the difference between the branches. Where every branch chooses its own blocks, the errors of two
choices differ, and their difference is multiplied too; where both leave out the same blocks, much of it cancels. And
one choice is made instead of two. None of the papers does it: their models have guidance distilled into them, or every
branch chooses. docs/methods/shared_selection.md has what it changes.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.packed_mask import PackedMask
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods import Selection
from videosieve.methods.base import TokenOrder


@dataclass(frozen=True, slots=True)
class Lent:
    """What the first branch of a step has chosen at one layer; of a `Selection` all but its recall and
    centroids: those are means of keys and values, which differ between branches, and the borrower pools its own.

    Attributes:
        site: Where.
        layout: For which tokens.
        batch: For how many items of the batch.
        mask: The kept blocks, at an eighth of their size where they can be packed.
    """

    site: Site
    layout: VideoLayout
    batch: int
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
        return cls(
            *(call.site, call.layout, call.batch, mask, *orders),
            *(chosen.patterns, chosen.pattern, chosen.causal, chosen.compensate),
        )

    def to(self, call: AttentionCall) -> Selection | None:
        """The same choice for the same layer and step of another branch.

        Args:
            call: Of the other branch.

        Returns:
            The selection; None where this one was made at another step or in the same branch, for another number of
            items, or where the two sequences differ by more than the length of the text behind the video.
        """
        if not self.is_for(call.site) or self.batch != call.batch:
            return None
        mask = self.mask.unpack() if isinstance(self.mask, PackedMask) else self.mask
        orders = (self.query_order, self.key_order)
        selection = Selection(
            *(mask, *orders, self.patterns, self.pattern),
            causal=self.causal,
            compensate=self.compensate,
        )
        return selection if self.layout == call.layout else _fit(selection, self.layout, call.layout)

    def is_for(self, site: Site) -> bool:
        """Whether it was made by another branch of the same step."""
        return self.site.step == site.step and self.site.branch != site.branch


class Loans:
    """The selections that branches of one run share, by transformer, generation, layer, pass and items of the batch."""

    def __init__(self) -> None:
        self._lent: dict[_Key, Lent] = {}

    def lend(self, owner: str, call: AttentionCall, chosen: Selection) -> None:
        """Keep the selection of a call for the other branches of its step."""
        self._lent[_key(owner, call.site)] = Lent.of(call, chosen)

    def borrow(
        self, owner: str, call: AttentionCall
    ) -> tuple[Selection | None, tuple[int, str] | tuple[()], str]:
        """What another branch of the step has chosen for this call.

        Args:
            owner: The transformer.
            call: The call.

        Returns:
            The selection with the step and branch that made it; or None and, where another branch has chosen but for
            something else, a sentence that says so.
        """
        lent = self._lent.get(_key(owner, call.site))
        if lent is None or not lent.is_for(call.site):
            return None, (), ""
        selection = lent.to(call)
        if selection is not None:
            return selection, (lent.site.step, lent.site.branch), ""
        made = f"branch {lent.site.branch!r} chose for {lent.batch} items of {lent.layout.tokens} tokens"
        return None, (), f"chosen anew: {made}, this call has {call.batch} of {call.tokens}"

    def forget(self, keep: Collection[int] = ()) -> None:
        """Forget every generation but those."""
        self._lent = {key: lent for key, lent in self._lent.items() if key[1] in keep}

    def values(self) -> list[Lent]:
        """All that is lent now."""
        return list(self._lent.values())

    def snapshot(self) -> Callable[[], None]:
        """Remember all; the result puts it back."""
        kept = dict(self._lent)

        def put_back() -> None:
            self._lent = dict(kept)

        return put_back


_Key = tuple[str, int, int, int, tuple[int, ...]]


def _key(owner: str, site: Site) -> _Key:
    return (owner, site.generation, site.layer, site.pass_number, site.items)


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
