"""Latents whose last frames are marked as references: they stand behind the video and are no part of it."""

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.layout import Grid

MARKS = "visual_token_type_ids"


class MarkedFrames(Sequence):
    """[video | reference frames]: `visual_token_type_ids` [batch, frames] is 0 for frames of the video (Kandinsky 6).

    A reference has the place in time of the first frame. In the grid it would be a neighbour of the last one.
    """

    def reads(self) -> list[Tensor]:
        marks = self.arguments.get(MARKS)
        return [] if marks is None else [marks]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        grid = self.row.grid(tuple(self.latents.shape), self.transformer.config)
        marked = bool(values) and bool(values[0].any())
        if not marked:
            return (Arrangement.of(lay_out(grid, [], [])),)
        marks = values[0] != 0
        frames = int((~marks[0]).sum())
        expected = torch.arange(grid.frames) >= frames
        if marks.shape[-1] != grid.frames or not frames or not bool((marks == expected).all()):
            return f"{MARKS} must mark the last of {grid.frames} frames, the same ones in every item of the batch"
        video = Grid(frames, grid.height, grid.width)
        return (Arrangement.of(lay_out(video, [], [("extra", grid.tokens - video.tokens)])),)
