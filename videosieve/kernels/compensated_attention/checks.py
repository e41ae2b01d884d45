"""Why the Triton kernel cannot run a call: asked before it is imported, without looking at values."""

from torch import Tensor

from videosieve.kernels.block_sparse_attention.checks import refuse_triton_attention
from videosieve.kernels.centroids import AnyMask, Centroids
from videosieve.kernels.triton_support import refuse_triton


def refuse(
    q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, centroids: Centroids, _answers: Tensor, scale: float
) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_triton(q, centroids.keys, centroids.values) or refuse_triton_attention(
        q, k, v, mask, scale
    )
    if reason:
        return reason
    if centroids.keys.dtype != q.dtype or centroids.values.dtype != q.dtype:
        return f"centroids must have the dtype of q, {q.dtype}, got {centroids.keys.dtype}"
    if centroids.keys.stride(-1) != 1 or centroids.values.stride(-1) != 1:
        return "the head_dim values of a centroid must lie next to one another; pass .contiguous()"
    if centroids.log_sizes.device != q.device:
        return f"centroids must be on {q.device}, got {centroids.log_sizes.device}"
    return None
