"""Framepack's sequence: text padding is masked in a batch, and cut off where a prompt is alone."""

from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.latents import Latents


class TrimmedAlone(Latents):
    """[extra | video | text]; without text padding, and without a mask, where the batch has one item."""

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        if self.batch > 1:
            return super().arrange(values)
        lengths, _ = self.text_lengths(values)
        return (Arrangement.of(self.layout(lengths[0])),)
