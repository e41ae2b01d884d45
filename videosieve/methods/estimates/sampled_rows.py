"""Online profiling of Sparse VideoGen: a few sampled rows attend in full and under each candidate mask."""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.kernels import sampled_attention
from videosieve.layout import VideoLayout

FEWEST_ROWS = 16
"""Rows that a fraction is raised to: fewer do not tell the two kinds of heads apart."""

SCORES_AT_ONCE = {"cpu": 2**24, "cuda": 2**28}
"""Scores (batch × heads × rows × keys) per pass, 4 bytes each; the reference holds about five copies."""

RowMask = Callable[[Tensor], Tensor]
RowDraw = Callable[[VideoLayout, int, torch.Generator], Tensor]


class Profile(NamedTuple):
    """What the sampled rows say about each candidate mask.

    Attributes:
        error: fp32 [masks, batch, heads]; mean squared difference from full attention.
        recall: fp32 [masks, batch, heads]; mean softmax mass inside the mask, in [0, 1].
    """

    error: Tensor
    recall: Tensor


def row_count(rows: float, tokens: int) -> int:
    """How many of `tokens` rows to sample: a count as it is, a fraction rounded and raised to FEWEST_ROWS."""
    return min(tokens, rows if isinstance(rows, int) else max(FEWEST_ROWS, round(rows * tokens)))


def generator_for(seed: int, site: Site) -> torch.Generator:
    """A CPU generator that depends on seed, layer and step alone."""
    # A CPU generator reads only the low 32 bits of its seed, so the three numbers are hashed into them.
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {site.layer} {site.step}".encode()))


def sample_rows(call: AttentionCall, draw: RowDraw, rows: float, seed: int) -> Tensor:
    """Draw the rows to profile for one call.

    Args:
        call: The attention call.
        draw: Picks that many positions: `stratified_rows` or the authors' `official_rows`.
        rows: A fraction of the video tokens or a count.
        seed: Together with layer and step, what the draw depends on.

    Returns:
        int64 [rows]; query positions, on the device of the call.
    """
    count = row_count(rows, call.layout.grid.tokens)
    return draw(call.layout, count, generator_for(seed, call.site)).to(call.q.device)


def stratified_rows(layout: VideoLayout, count: int, generator: torch.Generator) -> Tensor:
    """Sample video positions evenly over the frames: one from each of `count` equal stretches of the video.

    Args:
        layout: Which token is which.
        count: Rows, at most the tokens of the video.
        generator: Source of randomness.

    Returns:
        int64 [count]; ascending, distinct. No frame is 2 rows or more away from its even share.
    """
    edges = torch.arange(count + 1) * layout.grid.tokens // count
    places = torch.rand(count, generator=generator, dtype=torch.float64)
    return layout.video.start + edges[:-1] + (places * edges.diff()).long()


def profile_masks(call: AttentionCall, rows: Tensor, masks: Sequence[RowMask]) -> Profile:
    """Compare candidate masks on sampled rows (the paper's Algorithm 1, for all heads at once).

    Args:
        call: The attention call.
        rows: int64 [rows]; sampled query positions, on the device of the call.
        masks: Each maps row positions [rows] to their bool mask [1, 1, rows, tokens].

    Returns:
        Error and recall of every mask, batch element and head. Memory is O(rows at once × tokens).
    """
    at_once = SCORES_AT_ONCE.get(call.q.device.type, 2**24) // (call.batch * call.heads * call.tokens)
    errors, masses = [], []
    for part in rows.split(max(1, at_once)):
        sampled = sampled_attention(
            call.q[:, :, part], call.k, call.v, [mask(part) for mask in masks], scale=call.scale
        )
        errors.append((sampled.masked_output - sampled.output).square().mean(-1).sum(-1))
        masses.append((sampled.masked_lse - sampled.lse).exp().sum(-1))
    error, recall = (torch.stack(sums).sum(0) / len(rows) for sums in (errors, masses))
    return Profile(error, recall.clamp(max=1))
