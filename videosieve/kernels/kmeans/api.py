"""k-means of the tokens of every head: documentation, checks, dispatch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import AXES, FLOATS, check_floats, check_tensor, check_whole, order_law
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.kmeans import cpu, launch, native, reference
from videosieve.kernels.triton_support import lazily
from videosieve.masks.ragged_mask import whole_law
from videosieve.masks.upheld import note_upheld

_HERE = "videosieve.kernels.kmeans"
MOST_ITERATIONS = 1000
"""Far beyond what changes a clustering: SVG2 takes 50; a larger number is a slip that would never come back."""
MOST_SEED = 2**63 - 1


class Clusters(NamedTuple):
    """Clusters of every head.

    Attributes:
        labels: int32 [batch, heads, tokens]; the cluster of every token.
        centroids: fp32 [batch, heads, clusters, head_dim], fp64 for fp64 tokens; the mean of the tokens with
            that label. A cluster without tokens keeps the centroid that it had.
        sizes: int32 [batch, heads, clusters]; tokens of every cluster.
        order: int64 [batch, heads, tokens]; the tokens cluster by cluster, in their own order inside one.
        offsets: int64 [batch, heads, clusters + 1]; where clusters begin there.
    """

    labels: Tensor
    centroids: Tensor
    sizes: Tensor
    order: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, labels: Tensor, centroids: Tensor, sizes: Tensor) -> "Clusters":
        """With order and offsets, which follow from the others."""
        order = torch.sort(labels, dim=-1, stable=True).indices
        return cls(labels, centroids, sizes, order, pad(sizes.long().cumsum(-1), (1, 0)))


def _repeated(
    iteration: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
) -> Callable[..., Clusters]:
    """k-means of an implementation that knows one iteration: x and centroids to labels, means and sizes."""

    def run(x: Tensor, centroids: Tensor, iterations: int) -> Clusters:
        labels, centroids, sizes = iteration(x, centroids)
        for _ in range(iterations - 1):
            labels, centroids, sizes = iteration(x, centroids)
        return Clusters.of(labels, centroids, sizes)

    return run


IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, _repeated(lazily(f"{_HERE}.triton", "assign_and_update"))),
    Implementation("native", native.refuse, native.iterate),
    Implementation("cpu", cpu.refuse, _repeated(cpu.assign_and_update)),
    Implementation("reference", anything, _repeated(reference.assign_and_update)),
)


def kmeans(
    x: Tensor,
    clusters: int,
    *,
    iterations: int = 2,
    centroids: Tensor | None = None,
    seed: int = 0,
    backend: str | None = None,
) -> Clusters:
    """Lloyd's algorithm with squared Euclidean distance, on every head by itself and all of them together.

    One iteration gives every token the nearest centroid, the first of equally near ones, and every centroid the mean of
    its tokens. The number of iterations is fixed: a test for convergence would make the host wait for the device.
    Memory beyond x and the result is O(tokens + clusters · head_dim) per head, no tokens × clusters tensor exists. The
    same call gives the same clusters, bit for bit, on one device.

    Args:
        x: Tokens to cluster [batch, heads, tokens, head_dim], any strides; queries or keys after RoPE.
        clusters: Clusters per head, between 1 and the number of tokens.
        iterations: From 1 to 1,000; SVG2 takes 50 from a cold start and 2 from a warm one.
        centroids: Where to start [batch, heads, clusters, head_dim], as an earlier call returned them; None starts from
            tokens of x, one out of each of `clusters` equal stretches, so that no two starts are the same token.
        seed: Source of that draw, from 0 to 2**63 − 1.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        The clusters.

    Raises:
        ShapeError: x cannot be read, there are more clusters than tokens, iterations or seed are out of range, or the
            centroids do not fit.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_floats(x=x)
    check_whole("clusters", clusters, 1, x.shape[2], "a number of clusters among the tokens of x")
    check_whole("iterations", iterations, 1, MOST_ITERATIONS, "a number of rounds")
    check_whole("seed", seed, 0, MOST_SEED, "the source of a draw")
    shape = (*x.shape[:2], clusters, x.shape[3])
    if centroids is not None:
        check_tensor("centroids", centroids, (*AXES[:2], "clusters", AXES[3]), FLOATS)
        if centroids.shape != shape or centroids.device != x.device:
            raise ShapeError(
                f"centroids must be {list(shape)} on {x.device}, got {list(centroids.shape)} on {centroids.device}"
            )
    if torch.compiler.is_compiling():
        op = torch.ops.videosieve.kmeans
        return Clusters(*op(x, clusters, iterations, centroids, seed, backend))
    wide = torch.promote_types(x.dtype, torch.float32)
    centroids = draw_tokens(x, clusters, seed) if centroids is None else centroids
    centroids = centroids.to(wide).contiguous()
    chosen = choose("kmeans", IMPLEMENTATIONS, backend, x, centroids)
    return _known(Clusters(*chosen.run(x, centroids, iterations)))


def _known(clusters: Clusters) -> Clusters:
    """An order and offsets that later checks need not read again: counted here, they are what they have to be."""
    tokens = clusters.order.shape[-1]
    note_upheld(clusters.order, order_law(tokens))
    note_upheld(clusters.offsets, whole_law(tokens))
    return clusters


def draw_tokens(
    x: Tensor, count: int, seed: int, heads: int | None = None, numbers: Sequence[int] | None = None
) -> Tensor:
    """One token out of each of `count` equal stretches, for every head by itself.

    The places are the same in every batch element, so that none depends on what it is computed together with.

    Args:
        x: Tokens [batch, heads here, tokens, head_dim].
        count: Stretches, from 1 to the number of tokens.
        seed: Source of the draw.
        heads: Heads of the whole model, of which x holds some; None where it holds all.
        numbers: Which of them those in x are, in its order; None where it holds all.

    Returns:
        [batch, heads here, count, head_dim]; a head's are the same whichever others are here.
    """
    batch, here, tokens, head_dim = x.shape
    places = draw_places(tokens, count, seed, heads or here)
    index = (places if numbers is None else places[list(numbers)]).to(x.device)
    return x.gather(2, index.unsqueeze(-1).expand(batch, -1, -1, head_dim))


def draw_places(tokens: int, count: int, seed: int, rows: int) -> Tensor:
    """One place out of each of `count` equal stretches of some tokens, for every row by itself: int64 [rows, count].

    Drawn, because every n-th token of a video may lie in one column of its frames. On the CPU, whatever the device.
    """
    edges = torch.arange(count + 1, device="cpu") * tokens // count
    generator = torch.Generator("cpu").manual_seed(seed)
    drawn = torch.rand(rows, count, generator=generator, dtype=torch.float64, device="cpu")
    return edges[:-1] + (drawn * edges.diff()).long()


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor x, SymInt clusters, SymInt iterations, Tensor? centroids, SymInt seed, str? backend) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("videosieve::kmeans", mutates_args=(), schema=_SCHEMA)
def _operator(
    x: Tensor, clusters: int, iterations: int, centroids: Tensor | None, seed: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    result = kmeans(x, clusters, iterations=iterations, centroids=centroids, seed=seed, backend=backend)
    return result.labels, result.centroids, result.sizes, result.order, result.offsets


@_operator.register_fake
def _shapes(x: Tensor, clusters: int, *_arguments: object) -> tuple[Tensor, ...]:
    batch, heads, tokens, head_dim = x.shape
    wide = torch.promote_types(x.dtype, torch.float32)
    return (
        x.new_empty(batch, heads, tokens, dtype=torch.int32),
        x.new_empty(batch, heads, clusters, head_dim, dtype=wide),
        x.new_empty(batch, heads, clusters, dtype=torch.int32),
        x.new_empty(batch, heads, tokens, dtype=torch.int64),
        x.new_empty(batch, heads, clusters + 1, dtype=torch.int64),
    )
