"""A small call with a known answer, run once before other people's kernels are trusted with a real one."""

from collections.abc import Callable

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention import reference
from videosieve.masks.block_mask import BlockMask, BlockSize

HEADS, ROUNDINGS = 2, 8
LSE_BUDGET = 2.0**-8  # absolute; fast exponentials and logarithms stay far below it, a lost block does not
WHAT_A_KERNEL_RAISES = (
    AssertionError,
    AttributeError,
    ImportError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)

Run = Callable[[Tensor, Tensor, Tensor, BlockMask, float], tuple[Tensor, Tensor]]


def find_failure(
    run: Run, device: torch.device, dtype: torch.dtype, head_dim: int, block: BlockSize
) -> str | None:
    """Run a kernel on a mask whose answer differs from dense attention, with a partial last block and an empty row.

    Args:
        run: Computes output and LSE, as an implementation of the op does.
        device: Of the call that is to follow; its dtype, head_dim and block sides matter too.
        dtype: Of q, k and v.
        head_dim: Values per head.
        block: Sides of a block, tokens.

    Returns:
        A sentence about what went wrong, or None.
    """
    tokens = 4 * max(block.query, block.key) - 9
    generator = torch.Generator().manual_seed(0)
    shape = (1, HEADS, tokens, head_dim)
    q, k, v = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    rows, columns = -(-tokens // block.query), -(-tokens // block.key)
    keep = torch.rand(1, HEADS, rows, columns, generator=generator) < 0.5
    keep[:, 0, 1], keep[:, :, 0, 0], keep[:, :, -1, -1] = False, True, True
    mask, scale = BlockMask(keep, block, tokens), head_dim**-0.5
    there = BlockMask(keep.to(device), block, tokens)
    try:
        output, lse = run(q.to(device), k.to(device), v.to(device), there, scale)
    except WHAT_A_KERNEL_RAISES as error:
        return f"its self-test raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if output.shape != q.shape or lse.shape != q.shape[:-1]:
        return f"its self-test returned shapes {list(output.shape)} and {list(lse.shape)} for {list(q.shape)}"
    return _compare(
        output.cpu().double(), lse.cpu().double(), (q.double(), k.double(), v.double()), mask, scale
    )


def _compare(
    output: Tensor, lse: Tensor, qkv: tuple[Tensor, Tensor, Tensor], mask: BlockMask, scale: float
) -> str | None:
    q, k, v = qkv
    exact, exact_lse = reference.block_sparse_attention(q, k, v, mask, scale)
    size, _ = reference.block_sparse_attention(q, k, v.abs(), mask, scale)
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    error, kept = (output - exact).abs(), exact_lse.isfinite()
    budget = ROUNDINGS * 2.0**-8 * size  # of bf16, the coarsest type that is tried
    if not bool((error <= budget).all()) or error.mean() > 0.2 * (dense - exact).abs().mean():
        nearer = "; it looks like dense attention" if (output - dense).abs().mean() < error.mean() else ""
        return f"its self-test is off by {float(error.max()):.2g} where {float(budget.max()):.2g} is allowed{nearer}"
    if not torch.equal(lse[~kept], exact_lse[~kept]):
        return "its self-test gave a row without blocks an LSE other than −inf"
    lse_error = float((lse[kept] - exact_lse[kept]).abs().max())
    if not lse_error <= LSE_BUDGET:
        return f"its self-test's LSE is off by {lse_error:.2g} where {LSE_BUDGET:.2g} is allowed"
    return None
