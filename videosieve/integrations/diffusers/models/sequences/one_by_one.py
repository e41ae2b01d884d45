"""Mochi's sequences: the model gathers the valid text of every batch item and attends to the items one by one."""

from typing import ClassVar

from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.latents import Latents


class OneByOne(Latents):
    """[video | valid text], one call per batch item, in the order of the batch."""

    one_by_one: ClassVar[bool] = True

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        lengths, _ = self.text_lengths(values)
        return (Arrangement.one_by_one([self.layout(length) for length in lengths]),)
