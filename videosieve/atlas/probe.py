"""Looks at dense attention calls and notes what bands and the best blocks would have kept."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.masks.block_mask import BlockMask
from videosieve.methods.base import Method, State
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.estimates.sampled_rows import profile_masks, sample_rows, stratified_rows
from videosieve.methods.geometry.band import BandPattern, band_patterns

DENSITIES = (0.1, 0.2, 0.3, 0.5)
SEED = 0  # of the rows that decide a head's kind


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one attention call would have lost.

    Attributes:
        layer: Index of the self-attention.
        step: Denoising step.
        steps: Denoising steps of the generation.
        density: Executed density of the bands [densities].
        spatial: Recall of the spatial band [densities, heads].
        temporal: Recall of the temporal band [densities, heads].
        oracle: Recall of the best blocks of the same number of pairs, in the better token order [densities, heads].
        kind: 0 spatial, 1 temporal: what SVG's sampled error chooses [densities, heads].
    """

    layer: int
    step: int
    steps: int
    density: Tensor
    spatial: Tensor
    temporal: Tensor
    oracle: Tensor
    kind: Tensor


@dataclass(frozen=True, slots=True)
class AtlasProbe(Method):
    """Not a method to generate with: every call stays dense, and a sighting is noted.

    Attributes:
        sightings: Filled call by call; what is not conditional is left out, a batch is averaged.
        every: Steps between sightings.
    """

    name: ClassVar[str] = "atlas_probe"

    sightings: list[Sighting] = field(default_factory=list)
    every: int = 1

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        """Look, and stay dense."""
        if call.site.is_conditional and call.site.step % self.every == 0:
            self.sightings.append(look(call))
        return None, state


def look(call: AttentionCall) -> Sighting:
    """Measure what the bands of DENSITIES and the best blocks hold of a call's exact softmax mass.

    Args:
        call: The attention call.

    Returns:
        The sighting. Costs about four dense attentions; nothing of tokens × tokens is kept.
    """
    patterns = [band_patterns(call.layout, density, None, False, call.q.device) for density in DENSITIES]
    masses = [_mass(call, pattern) for pattern in patterns[0]]
    rows = sample_rows(call, stratified_rows, 0.01, SEED)
    kinds, spatial, temporal, oracle = [], [], [], []
    for pair in patterns:
        error, _ = profile_masks(call, rows, [pattern.rows for pattern in pair])
        kinds.append((error[1] < error[0]).double().mean(0).round())
        held = [_held(mass, pattern.mask.keep) for mass, pattern in zip(masses, pair, strict=True)]
        spatial.append(held[0])
        temporal.append(held[1])
        oracle.append(torch.maximum(*(_best(mass, pair[0].mask) for mass in masses)))
    densities = torch.tensor([pair[0].mask.density for pair in patterns])
    stacked = [torch.stack(values) for values in (spatial, temporal, oracle, kinds)]
    return Sighting(call.site.layer, call.site.step, call.site.steps, densities, *stacked)


def _mass(call: AttentionCall, pattern: BandPattern) -> Tensor:
    """Share of each head's softmax mass in every block, in the token order of a pattern [heads, rows, columns]."""
    queries, keys = pattern.orders()
    q = queries.apply(call.q) if queries else call.q
    k, v = (keys.apply(x) if keys else x for x in (call.k, call.v))
    moved = AttentionCall(q, k, v, call.layout, call.site, call.scale)
    return exact_mass(moved, pattern.mask.block.query).double().mean(0) / call.tokens


def _held(mass: Tensor, keep: Tensor) -> Tensor:
    return (mass * keep[0]).sum((-2, -1)).float()


def _best(mass: Tensor, mask: BlockMask) -> Tensor:
    """Mass of the densest blocks with as many pairs as the mask keeps, the last one in part: no block mask has more."""
    pairs = torch.outer(mask.query_sizes, mask.key_sizes).flatten().double()
    budget = mask.keep.double().flatten() @ pairs
    order = (mass.flatten(1) / pairs).argsort(-1, descending=True)
    taken = ((budget - pairs[order].cumsum(-1)) / pairs[order] + 1).clamp(0, 1)
    return (mass.flatten(1).gather(-1, order) * taken).sum(-1).float()
