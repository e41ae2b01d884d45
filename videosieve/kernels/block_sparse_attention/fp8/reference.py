"""What FP8 attention means, in plain PyTorch: q and k in e4m3 with one scale per block, k smoothed, P·V as it was.

Zhang et al., "SageAttention", arXiv:2410.02367, 3.2 and 3.3: the mean key is subtracted before quantisation, because
keys share large channel values that would use up the range; softmax does not see it, and the LSE gets scale · q·mean
back. Deviation: e4m3 where the paper has INT8, and blocks are those of the mask.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention import reference
from videosieve.masks.block_mask import BlockMask

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0  # of e4m3


class Quantised(NamedTuple):
    """Values in e4m3 and what they were divided by.

    Attributes:
        values: e4m3 [batch, heads, tokens, head_dim].
        scales: fp32 [batch, heads, blocks]; value · scale is the value meant.
    """

    values: Tensor
    scales: Tensor

    def restore(self, side: int) -> Tensor:
        """The values meant, fp32 [batch, heads, tokens, head_dim], of blocks of `side` tokens."""
        scales = self.scales.repeat_interleave(side, dim=-1)[..., : self.values.shape[2], None]
        return self.values.float() * scales


def quantise(x: Tensor, side: int) -> Quantised:
    """Round to e4m3, every block of `side` tokens scaled so that its largest value is the largest of the format.

    Args:
        x: [batch, heads, tokens, head_dim].
        side: Tokens per block; the last may be partial.

    Returns:
        Values and scales.
    """
    blocks = torch.nn.functional.pad(x.float(), (0, 0, 0, -x.shape[2] % side)).unflatten(2, (-1, side))
    largest = blocks.abs().amax((-2, -1))
    scales = torch.where(largest > 0, largest / LARGEST, 1.0)
    values = (blocks / scales[..., None, None]).to(E4M3).flatten(2, 3)[:, :, : x.shape[2]]
    return Quantised(values.contiguous(), scales)


def block_sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention with the rounding of the FP8 kernel and no other; shapes as in the api."""
    mean = k.mean(2, dtype=torch.float32, keepdim=True)
    rounded_q = quantise(q, mask.block.query).restore(mask.block.query)
    rounded_k = quantise(k.float() - mean, mask.block.key).restore(mask.block.key)
    output, lse = reference.block_sparse_attention(rounded_q, rounded_k, v.float(), mask, scale)
    return output.to(q.dtype), lse + (q.float() @ mean.mT).squeeze(-1) * scale
