"""A table that passed a check is not read again until it changes."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.kernels import pool_blocks
from videosieve.masks.ragged_mask import require_whole
from videosieve.masks.upheld import note_upheld, upholds
from videosieve.testing.factories import make_qkv


def pooled(order):
    x, offsets = make_qkv(20, 1)[0], torch.tensor([[[0, 7, 20]]])
    return pool_blocks(x, offsets, order=order).means


def test_a_change_in_place_is_noticed():
    order = torch.arange(19, -1, -1)
    assert torch.equal(pooled(order), pooled(order))
    order[3] = 4
    with pytest.raises(ShapeError, match="names a token twice"):
        pooled(order)


def test_offsets_that_change_are_read_again():
    offsets = torch.tensor([[[0, 5, 20]]])
    require_whole("offsets", offsets, 20)
    offsets[0, 0, 1] = 21
    with pytest.raises(ShapeError, match="must ascend"):
        require_whole("offsets", offsets, 20)


def test_another_law_is_another_question():
    x = torch.arange(5)
    note_upheld(x, ("is short", 5))
    note_upheld(x, ("ascends",))
    assert upholds(x, ("is short", 5))
    assert upholds(x, ("ascends",))
    assert not upholds(x, ("is short", 4))
    x.add_(1)
    assert not upholds(x, ("is short", 5))
    assert not upholds(x[:3], ("ascends",))


def test_tensors_of_inference_mode_are_read_every_time():
    with torch.inference_mode():
        x = torch.arange(5)
        note_upheld(x, ("ascends",))
        assert not upholds(x, ("ascends",))
        order = torch.arange(19, -1, -1)
        pooled(order)
        order[3] = 4
        with pytest.raises(ShapeError, match="names a token twice"):
            pooled(order)
