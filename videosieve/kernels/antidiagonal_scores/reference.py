"""Antidiagonal scores in plain PyTorch: the meaning of the op, and the oracle for its kernels."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def antidiagonal_scores(q: Tensor, k: Tensor, stride: int, scale: float) -> Tensor:
    """Mean of `scale · q·k` along one antidiagonal of every cell; shapes as in the api."""
    wide = torch.promote_types(q.dtype, torch.float32)
    q, k = (pad(x.to(wide), (0, 0, 0, -x.shape[-2] % stride)).unflatten(-2, (-1, stride)) for x in (q, k))
    # Query i of a cell meets key stride − 1 − i, so one product of the joined cells walks the antidiagonal.
    q = q.flip(-2).flatten(-2).unflatten(1, (k.shape[1], -1))  # heads by the key head that they share
    return (q @ k.flatten(-2).mT.unsqueeze(2)).flatten(1, 2) * (scale / stride)
