"""k-means in Triton: nearest centroid of every token, and the mean of every cluster.

The sum of a cluster walks over its tokens in the order of a stable sort instead of adding atomically: the result is the
same every time.
"""

import triton
import triton.language as tl


@triton.jit
def assign_kernel(
    x, centroids, lengths, labels, tokens, heads, head_dim, clusters, x_strides, BM: tl.constexpr, BN: tl.constexpr,
    D: tl.constexpr,
):  # fmt: skip
    """Labels of BM tokens of one head: the centroid with the least |c|² − 2 x·c, the first of equals.

    centroids [batch, heads, clusters, head_dim] in the dtype of x, lengths and labels without head_dim, contiguous.
    """
    lane = tl.program_id(1).to(tl.int64)
    batch, head = lane // heads, lane % heads
    token = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    values, step = tl.arange(0, D), tl.arange(0, BN)
    at = x + batch * x_strides[0] + head * x_strides[1] + token[:, None] * x_strides[2] + values[None, :]
    rows = tl.load(at, mask=(token < tokens)[:, None] & (values < head_dim)[None, :], other=0.0)
    centroids += lane * clusters * head_dim
    lengths += lane * clusters
    least, nearest = tl.full((BM,), float("inf"), tl.float32), tl.zeros((BM,), tl.int32)
    for first in tl.range(0, clusters, BN):
        cluster = first + step
        real = cluster < clusters
        keep = real[:, None] & (values < head_dim)[None, :]
        centres = tl.load(centroids + cluster[:, None] * head_dim + values[None, :], mask=keep, other=0.0)
        length = tl.load(lengths + cluster, mask=real, other=float("inf"))
        distance = length[None, :] - 2.0 * tl.dot(rows, centres.T)  # [BM, BN]
        part, place = tl.min(distance, 1, return_indices=True, return_indices_tie_break_left=True)
        nearest = tl.where(part < least, first + place, nearest)
        least = tl.minimum(least, part)
    tl.store(labels + lane * tokens + token, nearest, mask=token < tokens)


@triton.jit
def update_kernel(
    x,
    order,
    ends,
    centroids,
    means,
    tokens,
    heads,
    head_dim,
    clusters,
    x_strides,
    BT: tl.constexpr,
    D: tl.constexpr,
):
    """Mean of one cluster of one head; a cluster without tokens keeps its centroid.

    order [batch, heads, tokens] lists tokens by label, ends [batch, heads, clusters] says where clusters end in it.
    """
    lane, cluster = tl.program_id(1).to(tl.int64), tl.program_id(0)
    batch, head = lane // heads, lane % heads
    ends += lane * clusters + cluster
    stop = tl.load(ends)
    start = tl.load(ends - 1, mask=cluster > 0, other=0)
    values = tl.arange(0, D)[None, :]
    x += batch * x_strides[0] + head * x_strides[1]
    total = tl.zeros((BT, D), tl.float32)
    for place in tl.range(start, stop, BT):
        mine = place + tl.arange(0, BT)
        token = tl.load(order + lane * tokens + mine, mask=mine < stop, other=0).to(tl.int64)
        keep = (mine < stop)[:, None] & (values < head_dim)
        total += tl.load(x + token[:, None] * x_strides[2] + values, mask=keep, other=0.0).to(tl.float32)
    at = (lane * clusters + cluster) * head_dim + tl.arange(0, D)
    real = tl.arange(0, D) < head_dim
    old = tl.load(centroids + at, mask=real, other=0.0)
    count = tl.maximum(stop - start, 1).to(tl.float32)
    tl.store(means + at, tl.where(stop > start, tl.sum(total, 0) / count, old), mask=real)
