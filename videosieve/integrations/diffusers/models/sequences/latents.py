"""The usual sequence: latents after patching, with the texts and extra tokens that the row names around them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement, Group
from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.layout import Grid, SegmentKind, VideoLayout


class Latents(Sequence):
    """[text | extra | video | extra], or [extra | video | text | extra]; text padding comes last of the text."""

    def grid(self) -> Grid:
        """Video tokens."""
        return self.row.grid(tuple(self.latents.shape), self.transformer.config)

    def extras(self) -> tuple[int, int]:
        """Other tokens before and after the video."""
        before, after = (
            sum(part.tokens(self.arguments) for part in parts) for parts in (self.row.before, self.row.after)
        )
        return before, after

    def reads(self) -> list[Tensor]:
        return [x for text in self._texts() if (x := _counted(text, self.arguments)) is not None]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        lengths, padded = self.text_lengths(values)
        layouts = [self.layout(length) for length in lengths]
        rows = sum(self.arguments[text.argument].shape[1] for text in self._texts())
        tokens = self.layout(rows).tokens
        if self.batch == 1 or not padded:
            return (Arrangement((Group(layouts[0]),), tokens, self.row.is_padded),)
        # item by item: a prompt's selection, state and noise of sampled rows are then those of it alone
        groups = tuple(Group(layout, (item,)) for item, layout in enumerate(layouts))
        return (Arrangement(groups, tokens, self.row.is_padded),)

    def layout(self, text: int) -> VideoLayout:
        """The sequence with so many text tokens."""
        before, after = self.extras()
        first: list[tuple[SegmentKind, int]] = [("extra", before)]
        last: list[tuple[SegmentKind, int]] = [("extra", after)]
        (first if self.row.text == "first" else last).insert(0, ("text", text))
        return lay_out(self.grid(), first, last)

    def text_lengths(self, values: list[Tensor]) -> tuple[list[int], bool]:
        """Valid text rows of every batch item, and whether any text says which of its rows are valid.

        Args:
            values: What `reads` asked for.
        """
        told = iter(values)
        lengths = torch.zeros(self.batch, dtype=torch.float64)
        padded = False
        for text in self._texts():
            if _counted(text, self.arguments) is None:
                lengths += self.arguments[text.argument].shape[1]
                continue
            valid = next(told)
            lengths += valid.repeat(self.batch // len(valid))  # one text may stand for all items
            padded = padded or bool(text.mask)
        return [int(length) for length in lengths], padded

    def _texts(self) -> list[Text]:
        return [text for text in self.row.texts if isinstance(self.arguments.get(text.argument), Tensor)]


def _counted(text: Text, arguments: Mapping[str, Any]) -> Tensor | None:
    """How many rows of a text are valid, [items] or [1] and still on the device; None where all of them are."""
    given: Tensor = arguments[text.argument]
    if text.zero_is_padding:
        return (given != 0).any().double().reshape(1) * given.shape[1]
    mask = arguments.get(text.mask) if text.mask else None
    # pipelines round masks to bfloat16, which has no 257: counted, not added
    return None if mask is None else (mask != 0).sum(dim=1).double()
