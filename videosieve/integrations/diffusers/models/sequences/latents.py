"""The usual sequence: latents after patching, with the texts and extra tokens that the row names around them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

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
        told = [text for text in self._texts if _is_told(text, self.arguments)]
        return [_count(text, self.arguments) for text in told]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        lengths, padded = self.text_lengths(values)
        layouts = [self.layout(length) for length in lengths]
        rows = sum(self.arguments[text.argument].shape[1] for text in self._texts)
        tokens = self.layout(rows).tokens
        if self.batch == 1 or not padded:
            return (Arrangement((Group(layouts[0]),), tokens, self.row.is_padded),)
        # item by item: a prompt's selection, state and noise of sampled rows are then those of it alone
        groups = tuple(Group(layout, (item,)) for item, layout in enumerate(layouts))
        return (Arrangement(groups, tokens, self.row.is_padded),)

    def layout(self, text: int) -> VideoLayout:
        """The sequence with so many text tokens."""
        grid, (before, after) = self._around
        first: list[tuple[SegmentKind, int]] = [("extra", before)]
        last: list[tuple[SegmentKind, int]] = [("extra", after)]
        (first if self.row.text == "first" else last).insert(0, ("text", text))
        return lay_out(grid, first, last)

    @cached_property
    def _around(self) -> tuple[Grid, tuple[int, int]]:
        return self.grid(), self.extras()

    def text_lengths(self, values: list[Tensor]) -> tuple[list[int], bool]:
        """Valid text rows of every batch item, and whether any text says which of its rows are valid.

        Args:
            values: What `reads` asked for.
        """
        told = iter(values)
        lengths = [0] * self.batch
        padded = False
        for text in self._texts:
            if not _is_told(text, self.arguments):
                lengths = [length + self.arguments[text.argument].shape[1] for length in lengths]
                continue
            valid = next(told).tolist()
            valid *= self.batch // len(valid)  # one text may stand for all items
            lengths = [length + int(rows) for length, rows in zip(lengths, valid, strict=True)]
            padded = padded or bool(text.mask)
        return lengths, padded

    @cached_property
    def _texts(self) -> list[Text]:
        return [text for text in self.row.texts if isinstance(self.arguments.get(text.argument), Tensor)]


def _is_told(text: Text, arguments: Mapping[str, Any]) -> bool:
    """Whether the forward says which rows of a text are valid; all of them are where it does not."""
    return text.zero_is_padding or bool(text.mask and arguments.get(text.mask) is not None)


def _count(text: Text, arguments: Mapping[str, Any]) -> Tensor:
    """How many rows of a text are valid, [items] or [1] and still on the device."""
    if text.zero_is_padding:
        given: Tensor = arguments[text.argument]
        return (given != 0).any().double().reshape(1) * given.shape[1]
    # pipelines round masks to bfloat16, which has no 257: counted, not added
    return (arguments[text.mask] != 0).sum(dim=1).double()
