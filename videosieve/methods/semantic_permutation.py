"""SVG2: cluster queries and keys by what they are, compute the pairs of clusters that matter.

Yang et al., "Sparse VideoGen2: Accelerate Video Generation with Sparse Attention via Semantic-Aware Permutation",
arXiv:2505.18875. k-means makes blocks of alike tokens, wherever they lie in the video; their centroids tell the mass of
every pair of clusters; the fewest key clusters that hold most of a query cluster's mass are computed. Tokens are put in
cluster order, another one for queries and keys and in every head, so blocks are ragged. Centroids of one step start
the next.

Deviations: starting points are distinct tokens from all over the video; iterations are fixed, 12 of
them at first where the authors make up to 50, without a test for convergence; centroids belong to one branch of one
generation; any batch size. docs/methods/semantic_permutation.md.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import Count, In, Seed
from videosieve.kernels.kmeans import Clusters, draw_tokens, kmeans
from videosieve.layout import VideoLayout
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, TokenOrder
from videosieve.methods.parameters import Rounds, share
from videosieve.methods.selection import top_k, top_p

QUERY_CLUSTERS, KEY_CLUSTERS = 100, 500
LEAST_QUERIES, LEAST_KEYS = 64, 32
"""Mean tokens of a cluster below which the default numbers of clusters shrink: what a kernel tile still fills."""


@dataclass(frozen=True, slots=True)
class SvgTwoState:
    """Where the next step starts.

    Attributes:
        queries: Centroids fp32 [batch, heads, query clusters, head_dim].
        keys: Centroids fp32 [batch, heads, key clusters, head_dim].
    """

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True, slots=True)
class SemanticPermutation(Method):
    """Ragged blocks of clustered queries and keys, chosen by the mass of their centroids.

    Attributes:
        threshold: Share of the estimated mass to keep per query cluster, in (0, 1], the key cluster that crosses it
            included. The authors' top_p.
        min_share: Share of the key clusters that every query cluster keeps at least, in [0, 1]. Their min_kc_ratio.
        density: Share of the video's keys that every query cluster keeps, in (0, 1], in place of `threshold`: the
            heaviest clusters, the one that crosses it included.
        query_clusters: Clusters of the queries, at least 1. The paper's C_q. None takes its 100, or fewer where a
            cluster would hold less than 64 queries.
        key_clusters: Clusters of the keys, at least 1. The paper's C_k. None takes its 500, or fewer where a cluster
            would hold less than 32 keys.
        first_iterations: Of k-means at the first sparse step, from 1 to 1,000. The authors make 50.
        step_iterations: Of k-means at every later step, from the centroids of the step before, from 1 to 1,000.
        seed: Source of the starting points.
    """

    name: ClassVar[str] = "svg2"

    threshold: Annotated[float, share("the share of estimated mass to keep per query cluster")] = 0.9
    min_share: Annotated[float, In("[0, 1]", "is a share of the key clusters and must lie in [0, 1]")] = 0.1
    density: Annotated[float, share("the share of the video's keys that a query cluster keeps")] | None = None
    query_clusters: Count | None = None
    key_clusters: Count | None = None
    first_iterations: Rounds = 12
    step_iterations: Rounds = 2
    seed: Seed = 0

    def select(self, call: AttentionCall, state: SvgTwoState | None) -> tuple[Selection, SvgTwoState]:
        """Cluster, weigh pairs of clusters, keep the heaviest, put tokens in cluster order."""
        queries, keys = self.cluster(call, state)
        selection = ragged_selection(call.layout, queries, keys, self.choose(call, queries, keys))
        return selection, SvgTwoState(queries.centroids, keys.centroids)

    def cluster(self, call: AttentionCall, state: SvgTwoState | None) -> tuple[Clusters, Clusters]:
        """Clusters of the video's queries and of its keys, from where the state ended."""
        rounds = self.first_iterations if state is None else self.step_iterations
        q, k = (x[:, :, call.layout.video] for x in (call.q, call.k))
        count_q, count_k = self._counts(q.shape[2])
        if state is None:
            all_heads, numbers = call.all_heads, call.head_numbers
            start_q = draw_tokens(q, count_q, self.seed, all_heads, numbers)
            start_k = draw_tokens(k, count_k, self.seed + 1, all_heads, numbers)
        else:
            start_q, start_k = state.queries, state.keys
        queries = kmeans(q, count_q, iterations=rounds, centroids=start_q)
        return queries, kmeans(k, count_k, iterations=rounds, centroids=start_k)

    def choose(self, call: AttentionCall, queries: Clusters, keys: Clusters) -> Tensor:
        """Kept pairs, bool [batch, heads, query clusters, key clusters]: the fewest that hold the threshold's mass."""
        mass = cluster_mass(queries, keys, call.scale)
        keep = top_p(mass, self.threshold) if self.density is None else self._fill(mass, keys.sizes)
        least = int(self.min_share * keys.sizes.shape[-1])
        return keep | top_k(mass, least) if least else keep

    def _counts(self, tokens: int) -> tuple[int, int]:
        query = self.query_clusters or max(min(QUERY_CLUSTERS, tokens // LEAST_QUERIES), 1)
        key = self.key_clusters or max(min(KEY_CLUSTERS, tokens // LEAST_KEYS), 1)
        if max(query, key) > tokens:
            raise RecipeError(
                f"clusters must not outnumber the tokens of the video, got {query} query clusters and "
                f"{key} key clusters for {tokens} tokens; None chooses fitting numbers"
            )
        return query, key

    def _fill(self, mass: Tensor, sizes: Tensor) -> Tensor:
        """The heaviest key clusters of every row until they hold the density's share of the keys."""
        order = torch.sort(mass.nan_to_num(0.0), dim=-1, descending=True, stable=True).indices
        ranked = sizes.long().unsqueeze(-2).expand(mass.shape).gather(-1, order)
        before = ranked.cumsum(-1) - ranked
        kept = before < (self.density or 1.0) * ranked.sum(-1, keepdim=True)
        return torch.zeros_like(kept).scatter(-1, order, kept)


def cluster_mass(queries: Clusters, keys: Clusters, scale: float) -> Tensor:
    """Softmax over key clusters of the centroids' scores, a cluster counting as many keys as it has.

    Args:
        queries: Clusters of the queries.
        keys: Clusters of the keys.
        scale: Factor on every q·k.

    Returns:
        fp32 [batch, heads, query clusters, key clusters]; rows add up to 1, empty key clusters have none.
    """
    scores = queries.centroids @ keys.centroids.mT * scale + keys.sizes.unsqueeze(-2).log()
    return scores.softmax(-1)


def ragged_selection(layout: VideoLayout, queries: Clusters, keys: Clusters, keep: Tensor) -> Selection:
    """Put kept pairs of clusters into a selection: clusters first, then one block of everything outside the video.

    Args:
        layout: Which token is which.
        queries: Clusters of the video's queries.
        keys: Clusters of the video's keys.
        keep: bool [batch, heads, query clusters, key clusters].

    Returns:
        The selection; what lies outside the video sees and is seen by all.
    """
    outside = int(layout.other_tokens > 0)
    keep = pad(keep, (0, outside, 0, outside), value=True)
    (query_order, query_offsets), (key_order, key_offsets) = (
        _cluster_order(layout, x) for x in (queries, keys)
    )
    mask = RaggedBlockMask(keep, query_offsets, key_offsets, layout.tokens)
    return Selection(mask, TokenOrder(query_order), TokenOrder(key_order))


def _cluster_order(layout: VideoLayout, clusters: Clusters) -> tuple[Tensor, Tensor]:
    """Gather index [batch, heads, tokens] and block offsets [batch, heads, blocks + 1], int64."""
    video = clusters.order + layout.video.start
    everything = torch.arange(layout.tokens, device=video.device)
    rest = torch.cat([everything[: layout.video.start], everything[layout.video.stop :]])
    order = torch.cat([video, rest.expand(*video.shape[:2], -1)], -1)
    return order, pad(clusters.offsets, (0, int(len(rest) > 0)), value=layout.tokens)
