"""Masks with one bit per block."""

import pytest
import torch

from videosieve.masks.block_mask import BlockSize
from videosieve.masks.packed_mask import PackedMask
from videosieve.testing.factories import random_mask


@pytest.mark.parametrize("shape", [(75, 75, 16), (200, 63, 8), (5, 700, 16), (64, 64, 64)])
def test_a_packed_mask_unpacks_to_itself_at_an_eighth_of_its_size(shape):
    queries, keys, side = shape
    mask = random_mask(queries, keys, BlockSize(side, side), 0.4, batch=2, heads=3)
    packed = PackedMask.of(mask)
    again = packed.unpack()
    assert torch.equal(again.keep, mask.keep)
    assert (again.block, again.queries, again.keys) == (mask.block, mask.queries, mask.keys)
    assert packed.bits.dtype == torch.uint8
    assert packed.bits.numel() == mask.keep[..., ::8].numel()
