"""Launcher of the Triton kernel: that of block-sparse attention, with centroids as further keys of its softmax."""

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention.triton import Answers, block_sparse_attention
from videosieve.kernels.centroids import AnyMask, Centroids


def compensated_attention(  # noqa: PLR0913 - the op's arguments and orders
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    centroids: Centroids,
    answers: Tensor,
    scale: float,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, LSE over kept keys, LSE over both; shapes as in the api."""
    both = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    blocks = answers & centroids.log_sizes.isfinite().unsqueeze(
        -2
    )  # a step of empty blocks has no largest score
    sizes = centroids.log_sizes.float().contiguous()
    wanted = Answers(centroids.keys, centroids.values, sizes, blocks, both)
    output, lse = block_sparse_attention(q, k, v, mask, scale, query_order, key_order, wanted)
    return output, lse, both
