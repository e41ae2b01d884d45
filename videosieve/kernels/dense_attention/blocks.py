"""Dense attention by the block-sparse kernel with every block kept: what that kernel costs when it may skip nothing."""

from torch import Tensor

from videosieve.kernels.block_sparse_attention import block_sparse_attention
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import LONG_SIDE

BLOCK = BlockSize(LONG_SIDE, LONG_SIDE)


def dense_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """softmax(scale · q·kᵀ) · v; shapes as in the api."""
    mask = BlockMask.dense(q.shape[2], BLOCK, k.shape[2], q.device, causal)
    return block_sparse_attention(q, k, v, mask, scale=scale)[0]
