"""sieve: clusters of what attention sees alike, computed where their centroids would err most, answered for elsewhere.

This library's own method. From SVG2 (arXiv:2505.18875) it has blocks that are clusters of queries and of keys, from
SVG-EAR (arXiv:2603.08982) that centroids answer for what is left out and that what is computed is where they err. Three
things are its own: clusters are made in a score space, the few directions in which the scores of a head vary, so that
they are alike in what matters and cost little; the error of every pair of clusters is told from the moments of both,
without a probe of the keys; and a budget of pairs is dealt over all rows of a head at once. docs/methods/sieve.md
derives it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.fields import OneOf
from videosieve.kernels import Centroids, block_moments, deal_budget, kmeans, pool_blocks
from videosieve.kernels.kmeans import Clusters, draw_tokens
from videosieve.masks.block_side import block_side
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, TokenOrder
from videosieve.methods.estimates.centroid_error import (
    centroid_error,
    cluster_mass,
    query_moments,
)
from videosieve.methods.estimates.score_space import ScoreSpace, score_space
from videosieve.methods.parameters import Block, share

SHORT_SEQUENCE, SHORT_SIDE = 2_048, 32
"""Tokens below which clusters have 32 queries: with 64 there would be too few to choose among."""

MOST_ROWS = 400
"""Clusters of queries where nobody says how large they are: SVG-EAR's number for a whole video of 720p."""

FIRST_ITERATIONS, STEP_ITERATIONS = 8, 2
"""Of k-means, at the first sparse step from tokens and at every later one from where it ended."""

STEPS_IN_A_SPACE = 3
"""Sparse steps of a layer after which its space is made anew: what scores depend on changes as noise goes."""

SEED = 0
RANKS = ("error", "mass")
SPACES = ("scores", "tokens")


@dataclass(frozen=True, slots=True)
class SieveState:
    """What is kept for a generation.

    Attributes:
        space: Where clusters are made.
        steps: Selections that were made there.
        queries: Mean queries of the last step's clusters [batch, heads, rows, head_dim].
        keys: Mean keys, likewise.
    """

    space: ScoreSpace
    steps: int
    queries: Tensor
    keys: Tensor


@dataclass(frozen=True, slots=True)
class Sieve(Method):
    """Clusters chosen by what their centroids cannot repair; centroids answer for the rest.

    Attributes:
        density: Share of query–key pairs to compute, in (0, 1]; centroid columns and text included.
        block: Mean queries of a cluster, tokens; clusters of keys have half as many. None takes 128, 64 below 16,384
            and 32 below 2,048 tokens, and more from 51,200 on: there are 400 such clusters at most.
        space: "scores" clusters in the directions in which scores vary, "tokens" whole queries and keys, as SVG2 does.
        rank: "error" computes pairs of clusters by expected error ÷ size, "mass" by mass ÷ size.
        centroids: Whether what is left out is answered for by centroids.
    """

    name: ClassVar[str] = "sieve"

    density: Annotated[float, share("the share of query–key pairs to compute")] = 0.3
    block: Block = None
    space: Annotated[str, OneOf(SPACES)] = "scores"
    rank: Annotated[str, OneOf(RANKS)] = "error"
    centroids: bool = True

    def select(self, call: AttentionCall, state: SieveState | None) -> tuple[Selection, SieveState]:
        """Cluster in the score space, tell the errors, deal the budget, put tokens in cluster order."""
        q, k, v = (x[:, :, call.layout.video] for x in (call.q, call.k, call.v))
        steps = 0 if state is None or state.steps == STEPS_IN_A_SPACE else state.steps
        space = score_space(q, k, v, call.scale) if state is None or not steps else state.space
        seen_q, seen_k = space.see(q, k)
        starts = (None, None) if state is None else (state.queries, state.keys)
        points = (q, k)
        if self.space == "scores":
            points = (seen_q * space.reach.unsqueeze(-2), seen_k)
            starts = starts if state is None else space.points(state.queries, state.keys)
        side = self._side(q.shape[2])
        rows = _cluster(call, points[0], side, starts[0])
        columns = _cluster(call, points[1], max(side // 2, 1), starts[1])
        queries, keys, values = _means(q, rows), _means(k, columns), _means(v, columns)
        centroids = Centroids(keys, values, columns.sizes.float().log())
        mass = cluster_mass(queries, keys, centroids.log_sizes, call.scale)
        if self.rank == "error":
            of_rows = query_moments(seen_q, space.see_queries(queries), rows)
            of_columns = block_moments(seen_k, columns.offsets, y=space.see_values(v), order=columns.order)
            worth = centroid_error(of_rows, of_columns, mass, values)
        else:
            worth = mass
        worth = worth / columns.sizes.clamp(min=1).unsqueeze(-2)
        keep = deal_budget(worth, rows.sizes.long(), columns.sizes.long(), self._budget(call, columns.sizes))
        answers = _with_rest(call, centroids) if self.centroids else None
        ends = _or_middle(queries, rows), _or_middle(keys, columns)
        after = SieveState(space, steps + 1, *ends)
        return _selection(call, rows, columns, keep, answers), after

    def _side(self, tokens: int) -> int:
        """Mean queries of a cluster of a video."""
        own = SHORT_SIDE if tokens < SHORT_SEQUENCE else block_side(None, tokens)
        return self.block or max(own, -(-tokens // MOST_ROWS))

    def _budget(self, call: AttentionCall, sizes: Tensor) -> Tensor:
        """Pairs of the video that every head may compute beyond a centroid of each cluster, int64 [batch, heads].

        What lies outside the video sees and is seen by all; a cluster without keys has no centroid.
        """
        video, tokens = sizes.sum(-1), call.tokens
        outside = tokens**2 - video**2
        return round(self.density * tokens**2) - outside - video * (sizes > 0).sum(-1)


def _cluster(call: AttentionCall, x: Tensor, side: int, start: Tensor | None) -> Clusters:
    """Which points x [batch, heads, tokens, axes] belong to which cluster, from where clusters were if they were."""
    count, rounds = max(x.shape[2] // side, 1), STEP_ITERATIONS
    if start is None:
        start, rounds = draw_tokens(x, count, SEED, call.all_heads, call.head_numbers), FIRST_ITERATIONS
    return kmeans(x, count, iterations=rounds, centroids=start)


def _means(x: Tensor, clusters: Clusters) -> Tensor:
    """Mean of x [batch, heads, tokens, any] over every cluster, 0 for an empty one."""
    return pool_blocks(x, clusters.offsets, order=clusters.order).means


def _or_middle(means: Tensor, clusters: Clusters) -> Tensor:
    """Mean tokens of the clusters; of one that has become empty, that of all tokens."""
    sizes = clusters.sizes.unsqueeze(-1)
    wide = torch.promote_types(means.dtype, torch.float32)
    middle = (means.to(wide) * sizes).sum(2, keepdim=True) / sizes.sum(2, keepdim=True)
    return torch.where(sizes > 0, means, middle.to(means.dtype))


def _with_rest(call: AttentionCall, centroids: Centroids) -> Centroids:
    """A column for what lies outside the video, which is always kept: nobody answers for it."""
    if not call.layout.other_tokens:
        return centroids
    keys, values = (pad(x, (0, 0, 0, 1)) for x in (centroids.keys, centroids.values))
    return Centroids(keys, values, pad(centroids.log_sizes, (0, 1)))


def _selection(
    call: AttentionCall, rows: Clusters, columns: Clusters, keep: Tensor, centroids: Centroids | None
) -> Selection:
    """Clusters first, then one block of everything outside the video, which sees and is seen by all."""
    video, tokens = call.layout.video, call.tokens
    outside = int(call.layout.other_tokens > 0)
    everything = torch.arange(tokens, device=keep.device)
    rest = torch.cat([everything[: video.start], everything[video.stop :]]).expand(*keep.shape[:2], -1)
    query_order, key_order = (
        TokenOrder(torch.cat([x.order + video.start, rest], -1)) for x in (rows, columns)
    )
    query_offsets, key_offsets = (pad(x.offsets, (0, outside), value=tokens) for x in (rows, columns))
    mask = RaggedBlockMask(
        pad(keep, (0, outside, 0, outside), value=True), query_offsets, key_offsets, tokens
    )
    answered = centroids is not None
    return Selection(mask, query_order, key_order, compensate=answered, centroids=centroids)
