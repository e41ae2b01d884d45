"""What the seam needs to know about a video transformer: one row of data per class, no code per model.

A row says what the seam cannot find out by itself: which modules are the video self-attentions, how the latents are
laid out, how many latent pixels make a token, and where text and other tokens sit. Model *classes* are named by
strings, so that a row costs no import and an older diffusers without the class still works. How a sequence is built
that is more than latents with text around them is a kind of its own in `sequences/`, named by the row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.frame_rate import FRAME_RATE
from videosieve.integrations.diffusers.models.parts import Condition, Cut, Extra, Text
from videosieve.layout import Grid
from videosieve.schedule import Kind


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the seam needs to know about one transformer class.

    Attributes:
        name: The diffusers class.
        family: What people call the model.
        attentions: Regular expression that the names of the video self-attention modules match in full.
        axes: Meaning of the axes of the latents: B batch, C channels, T frames, H rows, W columns; "BCHW" for images,
            "BNC" where they are packed into N rows before the forward.
        patch: Config entries that hold the patch sides of frames, rows and columns, or the sides themselves; one entry
            may hold all three.
        text: Where text tokens sit in the attention sequence, relative to the video.
        texts: The forward's arguments whose rows are these tokens, in order; empty where `text` is "none".
        branches: Names of the calls within one step, in call order, where the pipeline does not name them. A batch that
            holds both is ("cond_uncond",), its unconditional half first.
        notes: Variants this row covers, for people.
        feed_forwards: Regular expression of the feed-forward modules, whose outputs can be reused.
        cross_attentions: The same for the cross-attentions to text; empty where text is in the sequence.
        joint_projections: The same for output projections that attention and feed-forward share.
        joint_inputs: The modules whose outputs only such a projection reads: idle where it returns a stored output.
        latents: The forward's argument that holds the latents.
        timestep: The forward's argument that holds the timestep.
        before: Other tokens before the video, in order; text that comes first stands before them.
        after: Other tokens after the video and after text that comes last, in order.
        sequence: How the attention sequence is built: a name in `sequences.SEQUENCES`, or a class of your own.
        order: Prefixes of module names in the order in which the forward calls them, where that is not the order in
            which they were registered.
        skipped_blocks: The forward's argument that lists blocks which pass their values on without attending.
        text_keys: Whether text stands in the keys only, unpadded and before the video, and attends to itself alone,
            causally, in the same processor; that call is no video attention and stays as it is.
        dense: Why sparse attention does not apply to this class, and the way forward; empty where it does.
        dense_if: Configurations with which it does not apply.
        pipelines: The diffusers pipelines that have such a transformer, for people.
        like: Another family, with the same blocks, whose recipes fit this one too.
        recipe: The bundled recipe that a paper or its authors give for the family; empty where there is none, and the
            bundled recipe of a method is a starting point and no more.
        frame_rate: Frames per second that the family was made for.
        frame_rates: Other rates, for configurations: (key, value, frames per second).
        usual: Video tokens at a usual size, and that size in words.
        break_even: Tokens from which self-attention is more than half of a forward's work, as `videosieve plan` counts
            it; None where nobody has counted.
        text_feed_forward: Child of a block that is a feed-forward for text alone; in a block without it one module
            serves video and text in two calls, and no output of it can be stored. Empty where that never happens.
        cuts: How Ulysses context parallelism cuts a model of text and video, each into equal parts: its plan, as
            diffusers has them for some models of video alone. Empty where nothing is known.
        uncut_if: Configurations in which it cannot be cut.
        conditional_first: Whether the conditional half of a batch that holds both branches comes first.
    """

    name: str
    family: str
    attentions: str
    axes: Literal["BCTHW", "BTCHW", "BTHWC", "BCHW", "BNC"]
    patch: tuple[str | int, ...]
    text: Literal["first", "last", "none"]
    branches: tuple[str, ...]
    notes: str
    texts: tuple[Text, ...] = ()
    feed_forwards: str = ""
    cross_attentions: str = ""
    joint_projections: str = ""
    joint_inputs: str = ""
    latents: str = "hidden_states"
    timestep: str = "timestep"
    before: tuple[Extra, ...] = ()
    after: tuple[Extra, ...] = ()
    sequence: str | type = "latents"
    order: tuple[str, ...] = ()
    skipped_blocks: str = ""
    text_keys: bool = False
    dense: str = ""
    dense_if: tuple[Condition, ...] = ()
    pipelines: str = ""
    like: str = ""
    recipe: str = ""
    frame_rate: float = FRAME_RATE
    frame_rates: tuple[tuple[str, Any, float], ...] = ()
    usual: tuple[Grid, str] | None = None
    break_even: int | None = None
    text_feed_forward: str = ""
    cuts: tuple[Cut, ...] = ()
    uncut_if: tuple[Condition, ...] = ()
    conditional_first: bool = False

    def __post_init__(self) -> None:
        if (self.text == "none") == bool(self.texts):
            raise IntegrationError(
                f"the row of {self.name} must name its text arguments exactly where text is in the sequence, got "
                f"text={self.text!r} and {len(self.texts)} texts"
            )

    @property
    def is_padded(self) -> bool:
        """Whether lengths differ between prompts and branches: texts are padded in the sequence, or not at all."""
        return self.text_keys or any(text.mask or text.zero_is_padding for text in self.texts)

    def self_attentions(self, transformer: Module) -> dict[str, Module]:
        """The video self-attention modules by name, in call order."""
        found = _matching(transformer, self.attentions)
        places = {prefix: place for place, prefix in enumerate(self.order)}
        return dict(
            sorted(found.items(), key=lambda item: places.get(item[0].partition(".")[0], len(places)))
        )

    def reusable(self, transformer: Module, kind: Kind) -> dict[str, Module]:
        """The modules of a kind whose outputs can be stored, by name."""
        patterns = {
            "attention": self.attentions,
            "cross": self.cross_attentions,
            "mlp": self.feed_forwards,
            "joint": self.joint_projections,
        }
        found = _matching(transformer, patterns[kind])
        if kind != "mlp" or not self.text_feed_forward:
            return found
        blocks = {name.rpartition(".")[0] for name in found if name.endswith("." + self.text_feed_forward)}
        return {name: module for name, module in found.items() if name.rpartition(".")[0] in blocks}

    def idle(self, transformer: Module) -> dict[str, Module]:
        """The modules that have nothing to do where a joint projection returns a stored output, by name."""
        return _matching(transformer, self.joint_inputs)

    def grid(self, shape: tuple[int, ...], config: Mapping[str, Any]) -> Grid:
        """The token grid of latents with this shape; frames are rounded up as the model pads them."""
        if len(shape) != len(self.axes):
            raise IntegrationError(
                f"{self.latents} of {self.name} must have the axes {self.axes}, got {list(shape)}"
            )
        sides = dict(zip(self.axes, shape, strict=True))
        frames, height, width = self.patch_sides(config)
        return Grid(-(-sides.get("T", 1) // frames), sides["H"] // height, sides["W"] // width)

    def patch_sides(self, config: Mapping[str, Any]) -> tuple[int, int, int]:
        """Latent frames, rows and columns in a token."""
        values: list[Any] = [key if isinstance(key, int) else config[key] for key in self.patch]
        frames, height, width = (1, *(values[0] if len(values) == 1 else values))[-3:]
        return frames or 1, height, width  # CogVideoX 1.0 writes its frame patch as None

    def rate_of(self, config: Mapping[str, Any]) -> float:
        """Frames per second that a transformer with this configuration was made for."""
        return next(
            (rate for key, value, rate in self.frame_rates if config.get(key) == value), self.frame_rate
        )

    def why_refused(self, config: Mapping[str, Any]) -> str:
        """Why a transformer of this class is not made sparse, or nothing."""
        return self.dense or next((x.reason for x in self.dense_if if x.refuses and x.holds(config)), "")

    def why_dense(self, config: Mapping[str, Any]) -> str:
        """Why the running forward stays dense whatever its tokens, or nothing; a pipeline may change the config."""
        return next((x.reason for x in self.dense_if if not x.refuses and x.holds(config)), "")


def _matching(transformer: Module, pattern: str) -> dict[str, Module]:
    return {name: m for name, m in transformer.named_modules() if pattern and re.fullmatch(pattern, name)}
