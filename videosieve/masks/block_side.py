"""How many tokens a block has on a side where nobody says."""

SHORT_SIDE, LONG_SIDE = 64, 128
LONG_SEQUENCE = 16_384
"""Tokens from which the default block side is 128 instead of 64."""


def block_side(block: int | None, tokens: int) -> int:
    """The block side of a call, tokens: as given, else 128, or 64 below LONG_SEQUENCE tokens."""
    return block or (LONG_SIDE if tokens >= LONG_SEQUENCE else SHORT_SIDE)
