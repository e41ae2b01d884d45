"""Sparse VideoGen: every head is spatial or temporal; a few sampled rows tell which; then compute its band.

Xi et al., "Sparse VideoGen: Accelerating Video Diffusion Transformers with Spatial-Temporal Sparsity",
arXiv:2502.01776. Online profiling is the paper's Algorithm 1; the token order is its layout transformation.

Deviations: the default profiles the very mask that is executed, on rows of the whole video; its band is
measured in tokens, as in the authors' code, and its width follows from the executed density.
`profile="official"` takes the authors' widths and masks. All deviations: docs/methods/sparse_videogen.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import Count, In, OneOf, Says, Seed, check_fields
from videosieve.methods.base import Method, Selection, State
from videosieve.methods.estimates.sampled_rows import profile_masks, sample_rows, stratified_rows
from videosieve.methods.geometry.band import KINDS, HeadKind, band_patterns, select_kinds
from videosieve.methods.geometry.sparse_videogen_official import (
    official_patterns,
    official_profile,
    official_rows,
)
from videosieve.methods.parameters import Block, share

Density = Annotated[float, share("the share of query–key pairs to keep", "0.3 keeps 30 %, 1 is dense")]
ProfileRows = Annotated[
    Annotated[float, In("(0, 1]")] | Count,
    Says(
        "is a fraction of the video tokens in (0, 1] or a count of at least 1",
        "0.01 profiles 1 % of them, 64 profiles 64",
    ),
]


@dataclass(frozen=True, slots=True)
class SparseVideoGen(Method):
    """Spatial and temporal band heads, told apart at every call.

    Attributes:
        density: Share of query–key pairs to keep, in (0, 1]; in the sound variant all of the executed mask.
        profile: "sound" profiles the executed mask on rows of the whole video; "official" as the authors do.
        profile_rows: Rows to profile: a fraction of the video tokens in (0, 1], at least 16 rows, or a count.
        first_frame_sink: Whether every query sees all keys of the first frame; "sound" only.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens ("official": always 128).
        seed: Source of the sampled rows, together with layer and step.
    """

    name: ClassVar[str] = "svg"

    density: Density = 0.3
    profile: Annotated[str, OneOf(("sound", "official"))] = "sound"
    profile_rows: ProfileRows = 0.01
    first_frame_sink: bool = False
    block: Block = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if self.profile == "official" and self.first_frame_sink:
            raise RecipeError(
                f"the official variant has a sink where the layout is video only and nowhere else, "
                f"got {self.first_frame_sink=}; leave it out or use profile='sound'"
            )

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """Attend from sampled rows under both masks; every head gets the kind with the smaller error."""
        del state
        layout, block, device = call.layout, self.block, call.q.device
        if self.profile == "official":
            patterns = official_patterns(layout, self.density, block, device)
            masks, draw = official_profile(layout, block, device), official_rows
        else:
            masks = patterns = band_patterns(layout, self.density, block, self.first_frame_sink, device)
            draw = stratified_rows
        rows = sample_rows(call, draw, self.profile_rows, self.seed)
        error, recall = profile_masks(call, rows, [mask.rows for mask in masks])
        kind = (error[1] < error[0]).long()  # ties go to the spatial kind
        recall = recall.gather(0, kind[None])[0] if masks is patterns else None
        return select_kinds(patterns, kind, recall), None


@dataclass(frozen=True, slots=True)
class OneKind(Method):
    """Every head has the same kind; nothing is profiled.

    Attributes:
        density: Share of query–key pairs to keep, in (0, 1].
        first_frame_sink: Whether every query sees all keys of the first frame.
        block: Block side, tokens; None takes 128, or 64 below 16,384 tokens.
    """

    kind: ClassVar[HeadKind]

    density: Density = 0.3
    first_frame_sink: bool = False
    block: Block = None

    def select(self, call: AttentionCall, state: State) -> tuple[Selection, State]:
        """The band of this kind for all heads."""
        del state
        device, index = call.q.device, KINDS.index(self.kind)
        pattern = band_patterns(call.layout, self.density, self.block, self.first_frame_sink, device)[index]
        kind = torch.full((1, call.heads), index, device=device)
        return Selection(pattern.mask, *pattern.orders(), KINDS, kind), None


class SpatialOnly(OneKind):
    """Ablation: every head is spatial."""

    __slots__ = ()
    name: ClassVar[str] = "spatial_only"
    kind: ClassVar[HeadKind] = "spatial"


class TemporalOnly(OneKind):
    """Ablation: every head is temporal."""

    __slots__ = ()
    name: ClassVar[str] = "temporal_only"
    kind: ClassVar[HeadKind] = "temporal"
