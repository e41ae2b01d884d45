"""The same masks through torch.compile(flex_attention), the block-sparse attention that comes with PyTorch.

Compiled code brings a second OpenMP pool that slows what follows in its process, so flex is timed in one of its own.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask as FlexMask
from torch.nn.attention.flex_attention import flex_attention

from videosieve.bench.cases import Case
from videosieve.bench.timing import time_by_turns
from videosieve.kernels import block_sparse_attention
from videosieve.masks.block_mask import BlockMask
from videosieve.testing.factories import make_qkv


def flex_mask(mask: BlockMask) -> FlexMask:
    """The mask as lists of whole blocks, so that flex needs no test per token."""
    counts = mask.keep.sum(-1, dtype=torch.int32)
    indices = torch.sort(mask.keep.to(torch.uint8), dim=-1, descending=True, stable=True).indices.to(
        torch.int32
    )
    return FlexMask.from_kv_blocks(
        torch.zeros_like(counts),
        torch.zeros_like(indices),
        full_kv_num_blocks=counts,
        full_kv_indices=indices,
        BLOCK_SIZE=(mask.block.query, mask.block.key),
        seq_lengths=(mask.queries, mask.keys),
    )


def compiled_flex(mask: BlockMask) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A function of q, k and v; the first call compiles."""
    blocks, attend = flex_mask(mask), torch.compile(flex_attention)
    return lambda q, k, v: attend(q, k, v, block_mask=blocks)


def time_flex(case: Case, repeats: int) -> float:
    """Median milliseconds of compiled flex attention, measured in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_time_flex_here, case, repeats).result()


@torch.inference_mode()
def _time_flex_here(case: Case, repeats: int) -> float:
    shape, mask = case.shape, case.make_mask()
    q, k, v = make_qkv(
        shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True
    )
    flex = compiled_flex(mask)
    torch.testing.assert_close(flex(q, k, v), block_sparse_attention(q, k, v, mask)[0], rtol=1e-4, atol=1e-5)
    return time_by_turns({"flex": lambda: flex(q, k, v)}, repeats)["flex"]
