"""What the seam needs to know about a video transformer: one row of data per class, no code per model.

A row says what the seam cannot find out by itself: which modules are the video self-attentions, how `hidden_states` is
laid out, how many latent pixels make a token, and where text tokens sit. Model *classes* are named by strings, so that
a row costs no import and an older diffusers without the class still works.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.layout import Grid
from videosieve.schedule import Kind


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the seam needs to know about one transformer class.

    Attributes:
        name: The diffusers class.
        family: What people call the model.
        attentions: Regular expression that the names of the video self-attention modules match in full.
        axes: Meaning of the axes of `hidden_states`: B batch, C channels, T frames, H rows, W columns.
        patch: Config entries that hold the patch sides of frames, rows and columns; one entry may hold all three.
        text: Where text tokens sit in the attention sequence, relative to the video.
        text_mask: Forward argument [batch, text] that marks valid text as a prefix; empty where text is never padded
            as far as the model is concerned.
        branches: Names of the calls within one step, in call order, where the pipeline does not name them.
        notes: Variants this row covers, for people.
        feed_forwards: Regular expression of the feed-forward modules, whose outputs can be reused.
        cross_attentions: The same for the cross-attentions to text; empty where text is in the sequence.
        joint_projections: The same for output projections that attention and feed-forward share.
        joint_inputs: The modules whose outputs only such a projection reads: idle where it returns a stored output.
    """

    name: str
    family: str
    attentions: str
    axes: Literal["BCTHW", "BTCHW"]
    patch: tuple[str, ...]
    text: Literal["first", "last", "none"]
    text_mask: str
    branches: tuple[str, ...]
    notes: str
    feed_forwards: str = ""
    cross_attentions: str = ""
    joint_projections: str = ""
    joint_inputs: str = ""

    def self_attentions(self, transformer: Module) -> dict[str, Module]:
        """The video self-attention modules by name, in call order."""
        return _matching(transformer, self.attentions)

    def reusable(self, transformer: Module, kind: Kind) -> dict[str, Module]:
        """The modules of a kind whose outputs can be stored, by name."""
        patterns = {
            "attention": self.attentions,
            "cross": self.cross_attentions,
            "mlp": self.feed_forwards,
            "joint": self.joint_projections,
        }
        return _matching(transformer, patterns[kind])

    def idle(self, transformer: Module) -> dict[str, Module]:
        """The modules that have nothing to do where a joint projection returns a stored output, by name."""
        return _matching(transformer, self.joint_inputs)

    def grid(self, shape: tuple[int, ...], config: Mapping[str, Any]) -> Grid:
        """The token grid of latents with this shape; frames are rounded up as the model pads them."""
        if len(shape) != len(self.axes):
            raise IntegrationError(
                f"hidden_states of {self.name} must have the axes {self.axes}, got {list(shape)}"
            )
        sides = dict(zip(self.axes, shape, strict=True))
        frames, height, width = self.patch_sides(config)
        return Grid(-(-sides["T"] // frames), sides["H"] // height, sides["W"] // width)

    def patch_sides(self, config: Mapping[str, Any]) -> tuple[int, int, int]:
        """Latent frames, rows and columns in a token."""
        values = [config[key] for key in self.patch]
        frames, height, width = values[0] if len(values) == 1 else values
        return frames or 1, height, width  # CogVideoX 1.0 writes its frame patch as None


def _matching(transformer: Module, pattern: str) -> dict[str, Module]:
    return {name: m for name, m in transformer.named_modules() if pattern and re.fullmatch(pattern, name)}
