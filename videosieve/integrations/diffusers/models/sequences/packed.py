"""Latents that were packed to [batch, tokens, channels] before the forward, so that the grid is not in their shape."""

from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.integrations.diffusers.models.sequences.meshes import find_grid
from videosieve.layout import Grid


class _Packed(Sequence):
    """What both kinds read: `num_frames`, `height` and `width`, in tokens."""

    @property
    def tokens(self) -> int:
        return self.latents.shape[1]

    @property
    def told(self) -> Grid | None:
        """The grid as the forward's numbers say it."""
        sides = [self.arguments.get(name) for name in ("num_frames", "height", "width")]
        known = all(isinstance(side, int) and side > 0 for side in sides)
        return Grid(*map(int, sides)) if known else None  # type: ignore[arg-type]


class Packed(_Packed):
    """[extra | video | extra], LTX: the numbers where they describe all tokens, else the coordinates.

    Its condition pipeline names no numbers and puts conditions before the video; its long multi-prompt pipeline says
    1 × 1 × 1 and puts frames of the window before, guidance and the like behind the video.
    """

    def reads(self) -> list[Tensor]:
        coordinates = self.arguments.get("video_coords")
        asked = self._whole is None and isinstance(coordinates, Tensor)
        return [coordinates[0]] if asked else []  # type: ignore[index]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        if self._whole is not None:
            return (Arrangement.of(lay_out(self._whole, [], [])),)
        if not values or tuple(values[0].shape) != (3, self.tokens):
            return f"num_frames, height and width do not make {self.tokens} tokens, and no video_coords place them"
        grid, first = find_grid(values[0].T)
        after = self.tokens - first - grid.tokens
        if 2 * grid.tokens < self.tokens:
            return f"video_coords show no video in {self.tokens} tokens: its longest run of frames is {grid}"
        return (Arrangement.of(lay_out(grid, [("extra", first)], [("extra", after)])),)

    @property
    def _whole(self) -> Grid | None:
        told = self.told
        return told if told is not None and told.tokens == self.tokens else None


class PackedFirst(_Packed):
    """[video | extra], LTX-2: the numbers describe the first tokens; keyframes and references follow."""

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        del values
        grid = self.told
        if grid is None:
            return f"the forward names no num_frames, height and width for its {self.tokens} tokens"
        if self.tokens < grid.tokens:
            return f"a tile of {self.tokens} tokens of the {grid.tokens} of {grid}"
        if self.arguments.get("video_self_attention_mask") is not None:
            return (
                "a mask weighs pairs of video tokens (IC-LoRA below full strength); full strength needs none"
            )
        return (Arrangement.of(lay_out(grid, [], [("extra", self.tokens - grid.tokens)])),)
