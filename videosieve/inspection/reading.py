"""What an inspection brings home: one reading a layer, head and step, and the measures of all heads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from videosieve.inspection.plan import Plan
from videosieve.inspection.view import HeadView


class Spot(NamedTuple):
    """Which attention head, and when.

    Attributes:
        layer: Self-attention in call order, from 0.
        head: Head, from 0.
        step: Denoising step, from 0.
    """

    layer: int
    head: int
    step: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One head at one step.

    Attributes:
        view: Maps, measures and patches.
        density: Computed pairs ÷ all pairs, in [0, 1].
        pattern: The method's name for what the head got; empty where it has none.
        order: Token order in which the executed mask was made; empty for dense attention.
    """

    view: HeadView
    density: float
    pattern: str = ""
    order: str = ""


@dataclass(frozen=True)
class Inspection:
    """Attention of one generation.

    Attributes:
        prompt: What the video shows.
        pipeline: Class name of the pipeline.
        model: Class name of the transformer.
        method: Name of the recipe; "the pipeline's own attention" where there was none.
        plan: What was looked at; `plan.layout` says which token is which, `plan.exact` whether rows were sampled.
        readings: By layer, head and step, in that order.
        atlas: fp32 [measures, steps, layers, heads]; `MEASURES` of every head of the model at the chosen steps, from
            `atlas_rows` rows each. NaN where a call was not seen.
        atlas_rows: Query rows behind every number of the atlas.
        steps: The chosen steps, ascending.
        all_steps: Denoising steps of the generation.
        missing: Layers and steps that were asked for and not computed: a cache or output reuse skipped them.
        video: fp32 [video frames, 3, height, width] in [0, 1]; None where it was not decoded.
        frame_of: For every video frame the frame of the token grid that covers it.
    """

    prompt: str
    pipeline: str
    model: str
    method: str
    plan: Plan
    readings: Mapping[Spot, Reading]
    atlas: Tensor
    atlas_rows: int
    steps: tuple[int, ...]
    all_steps: int
    missing: tuple[tuple[int, int], ...] = ()
    video: Tensor | None = None
    frame_of: tuple[int, ...] = field(default=())

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers with maps, ascending."""
        return tuple(sorted({spot.layer for spot in self.readings}))

    @property
    def heads(self) -> tuple[int, ...]:
        """Heads with maps, ascending."""
        return tuple(sorted({spot.head for spot in self.readings}))
