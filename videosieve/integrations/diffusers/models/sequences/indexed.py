"""Tokens whose places in the sequence are given one by one: MiniMax-H3."""

from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.integrations.diffusers.models.sequences.meshes import find_grid

_NAMES = ("position_ids", "video_indices", "timestep_indices", "text_indices")


class Indexed(Sequence):
    """[text | extra | video | extra], in the order of `text_indices`, `video_indices` and `audio_indices`.

    The video is the last run of video rows: what separates it from condition rows is a gap in the indices, another
    timestep, or time that falls back. Times are not evenly spaced (5/3 · (1, 4, 4, 4, 4)), so that frames are counted,
    never computed. One structure holds for the whole batch.
    """

    @property
    def timestep(self) -> Any:
        """That of the video's last row: conditions and audio have times of their own, some of them above it."""
        named = (self.row.timestep, "timestep_indices", "video_indices")
        given = [one for name in named if isinstance(one := self.arguments.get(name), Tensor)]
        if len(given) < len(named):
            return None
        times, indices, video = given
        return times[indices[video[-1:]]]

    def reads(self) -> list[Tensor]:
        return [self.arguments[name] for name in _NAMES]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        positions, video, times, text = values[0], *(one.long() for one in values[1:])
        last = int(video[-1]) + 1
        together = (video[1:] - video[:-1] == 1) & (times[video[:-1]] == times[last - 1])
        rows = 1 + int(together.flip(0).long().cumprod(0).sum())
        grid, place = find_grid(positions[last - rows : last])
        if place + grid.tokens != rows or 2 * grid.tokens < rows:  # a keyframe may stand before the video
            return f"the positions of the last {rows} video rows make no grid"
        first = last - grid.tokens
        words = len(text) if torch.equal(text, torch.arange(len(text))) and len(text) <= first else 0
        before, after = first - words, len(positions) - last
        return (Arrangement.of(lay_out(grid, [("text", words), ("extra", before)], [("extra", after)])),)
