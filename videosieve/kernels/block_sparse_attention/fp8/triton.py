"""Block-sparse attention with q and k in FP8 on CUDA in Triton; its meaning is in `reference.py`.

q and k are read twice more than without FP8: once for the mean key, once for rounding, which also computes what the LSE
gets back. Where q and k come from a kernel of ours, that one may hand over `Quantised` instead.
"""

from typing import Any

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention.checks import LEAST_FP8_ARCH
from videosieve.kernels.block_sparse_attention.fp8.reference import E4M3, LARGEST, Quantised
from videosieve.kernels.block_sparse_attention.fp8.triton_kernel import round_block
from videosieve.kernels.block_sparse_attention.triton import Scales, prepare
from videosieve.kernels.block_sparse_attention.triton_kernel import attend_blocks
from videosieve.kernels.launch import COMPILER_OPTIONS
from videosieve.kernels.triton_support import launch_arch, on_device
from videosieve.masks.block_mask import BlockMask

TILE = 64  # tokens that one step of the rounding kernel holds


def block_sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys, scores from e4m3; shapes as in the api."""
    with on_device(q):
        mean = k.mean(2, dtype=torch.float32).contiguous()  # as the kernels read it, however k lies
        rounded_q, shift = round_blocks(q, mask.block.query, probe=mean)
        rounded_k, _ = round_blocks(k, mask.block.key, centre=mean)
    output, lse = attend_rounded(
        rounded_q, rounded_k, v if v.dtype != torch.float32 else v.half(), mask, scale
    )
    return output.to(q.dtype), lse.add_(shift, alpha=scale)


def attend_rounded(
    q: Quantised, k: Quantised, v: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention from values that are rounded already, scales per block of the mask; v in bf16 or fp16.

    Returns:
        Output in the dtype of v, and the LSE of the scores as they are: what was subtracted from k is missing.
    """
    out = torch.empty(v.shape[:2] + q.values.shape[2:], dtype=v.dtype, device=v.device)
    lse = torch.empty(out.shape[:-1], dtype=torch.float32, device=v.device)
    arch = max(launch_arch(v.device), LEAST_FP8_ARCH)
    scales = Scales(q.scales, k.scales)
    launch, arguments = prepare(q.values, k.values, v, out, lse, mask, scale, arch, scales=scales)
    with on_device(v):
        attend_blocks[arguments["jobs"].shape](**arguments, **launch.options)
    return out, lse


def round_blocks(
    x: Tensor, side: int, *, centre: Tensor | None = None, probe: Tensor | None = None
) -> tuple[Quantised, Tensor]:
    """Round to e4m3 per block of `side` tokens in one read and one write.

    Args:
        x: [batch, heads, tokens, head_dim].
        side: Tokens per block, a multiple of 16.
        centre: fp32 [batch, heads, head_dim]; subtracted first.
        probe: fp32 [batch, heads, head_dim]; multiplied with every token as it was.

    Returns:
        Values and scales, and x·probe, fp32 [batch, heads, tokens]; undefined without a probe.
    """
    batch, heads, tokens, _ = x.shape
    rows = -(-tokens // side)
    values = torch.empty(x.shape, dtype=E4M3, device=x.device)
    scales = torch.empty(batch, heads, rows, dtype=torch.float32, device=x.device)
    products = torch.empty(batch, heads, tokens, dtype=torch.float32, device=x.device)
    rounded = Quantised(values, scales)
    arguments = rounding_arguments(x, side, rounded, products, centre, probe)
    round_block[(rows, batch * heads)](**arguments, **COMPILER_OPTIONS)
    return rounded, products


def rounding_arguments(
    x: Tensor, side: int, rounded: Quantised, products: Tensor, centre: Tensor | None, probe: Tensor | None
) -> dict[str, Any]:
    """Arguments of `round_block`; what runs and what is compiled ahead of time."""
    _, heads, tokens, head_dim = x.shape
    return dict(
        **dict(
            x=x, values=rounded.values, scales=rounded.scales, products=products, centre=centre, probe=probe
        ),
        **dict(heads=heads, tokens=tokens, rows=rounded.scales.shape[2], strides=x.stride()[:3]),
        **dict(HEAD_DIM=head_dim, D=1 << (head_dim - 1).bit_length(), LARGEST=LARGEST),
        **dict(SIDE=side, BM=min(side & -side, TILE)),
    )
