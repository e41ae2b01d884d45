"""The judges of kernels: they know what an op documents."""

import pytest
import torch

from videosieve.kernels import block_sparse_attention, dense_attention
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import make_qkv
from videosieve.testing.kernel_truth import judge_block_sparse_attention, judge_dense_attention


def test_dense_attention_with_shared_key_heads_is_judged():
    q, k, v = make_qkv(9, 9, heads=4, head_dim=8)
    k, v = k[:, :2], v[:, :2]
    result = dense_attention(q, k, v)
    judge_dense_attention(result, "", q, k, v)
    with pytest.raises(AssertionError, match="output is off"):
        judge_dense_attention(result + 1e-3, "", q, k, v)


def test_sparse_attention_with_shared_key_heads_is_judged():
    q, k, v = make_qkv(20, 20, heads=4, head_dim=8)
    k, v = k[:, :2], v[:, :2]
    keep = torch.eye(3, dtype=torch.bool).expand(1, 4, 3, 3)
    mask = BlockMask(keep, BlockSize(8, 8), 20)
    output, lse = block_sparse_attention(q, k, v, mask)
    judge_block_sparse_attention((output, lse), "", q, k, v, mask)
    with pytest.raises(AssertionError, match="output is off"):
        judge_block_sparse_attention((output + 1e-3, lse), "", q, k, v, mask)
