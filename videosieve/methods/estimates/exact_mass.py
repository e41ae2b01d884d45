"""The exact softmax mass of every block, at the price of dense attention: for fitting, and as a bound."""

from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.kernels import block_mass, block_sparse_attention
from videosieve.masks.block_mask import BlockMask, BlockSize


def exact_mass(call: AttentionCall, side: int) -> Tensor:
    """Softmax mass of every block.

    Args:
        call: The attention call.
        side: Block side, tokens.

    Returns:
        fp32 [batch, heads, rows, columns]; a row adds up to its query tokens.
    """
    block = BlockSize(side, side)
    everything = BlockMask.dense(call.tokens, block, device=call.q.device)
    _, lse = block_sparse_attention(call.q, call.k, call.v, everything, scale=call.scale)
    return block_mass(call.q, call.k, lse, block, scale=call.scale)
