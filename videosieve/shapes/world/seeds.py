"""Counter-based random numbers: every draw is a pure function of (seed, stream, index).

A batch therefore equals its samples drawn alone, on any device and with any number of threads.
"""

from enum import IntEnum

import torch

_MASK = 0xFFFFFFFF


class Stream(IntEnum):
    """What a draw is for; streams of one seed are independent."""

    FACTORS = 1
    PLACEMENT = 2
    BACKGROUND = 3
    CAPTION = 4
    NOISE = 5
    BATCH = 6
    FRAGMENT = 7


def _mix(value: torch.Tensor) -> torch.Tensor:
    # lowbias32 (Wellons); int64 products wrap, and only their low 32 bits are kept
    value = (value ^ (value >> 16)) * 0x7FEB352D & _MASK
    value = (value ^ (value >> 15)) * 0x846CA68B & _MASK
    return value ^ (value >> 16)


def uniforms(seeds: torch.Tensor, count: int, stream: Stream) -> torch.Tensor:
    """Draws `count` numbers for every seed.

    Args:
        seeds: int64 seeds, >= 0 [batch].
        count: Draws per seed, >= 1.
        stream: What the draws are for.

    Returns:
        float32 in [0, 1) [batch, count].
    """
    key = _mix((seeds & _MASK) ^ _mix((seeds >> 32 & _MASK) + int(stream) * 0x9E3779B1 & _MASK))
    index = torch.arange(count, device=seeds.device)
    bits = _mix(_mix(key[:, None] + index * 0x9E3779B1 & _MASK) ^ key[:, None])
    return (bits >> 8).float() / 2**24


def generator_for(seed: int, stream: Stream) -> torch.Generator:
    """A torch generator for a 64-bit seed; torch's own reads only the low 32 bits of what it is given.

    Args:
        seed: In [0, 2**63).
        stream: What the draws are for.

    Returns:
        A CPU generator.
    """
    high, low = (uniforms(torch.tensor([seed]), 2, stream)[0] * 2**16).long().tolist()
    return torch.Generator().manual_seed(high << 16 | low)
