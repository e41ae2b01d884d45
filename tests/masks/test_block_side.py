"""The side that blocks have where nobody says."""

from videosieve.masks.block_side import block_side


def test_the_block_side_follows_the_length():
    assert [block_side(None, tokens) for tokens in (16_383, 16_384)] == [64, 128]
    assert block_side(32, 119_056) == 32
