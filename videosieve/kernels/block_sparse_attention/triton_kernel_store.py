"""How the attention kernel writes the state of its softmax."""

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def store_lse(state, lse_tokens, stored):
    """Write the LSE of a tile; a row without keys gets −inf."""
    _, _, pivot, total = state
    empty = total == 0.0
    lse = tl.where(empty, -float("inf"), (pivot + tl.log2(tl.where(empty, 1.0, total))) * LN2)
    tl.store(lse_tokens, lse[:, None], mask=stored[:, None])


@triton.jit
def store_tile(state, out_tokens, lse_tokens, stored, D1: tl.constexpr, D2: tl.constexpr):
    """Write output and LSE of a tile; a row without keys gets zeros and −inf."""
    acc1, acc2, pivot, total = state
    empty = total == 0.0
    divisor = tl.where(empty, 1.0, total)[:, None]
    lse = tl.where(empty, -float("inf"), (pivot + tl.log2(tl.where(empty, 1.0, total))) * LN2)
    tl.store(lse_tokens, lse[:, None], mask=stored[:, None])
    values = out_tokens.dtype.element_ty
    tl.store(out_tokens + tl.arange(0, D1)[None, :], (acc1 / divisor).to(values), mask=stored[:, None])
    if D2 > 0:
        second = out_tokens + (D1 + tl.arange(0, D2))[None, :]
        tl.store(second, (acc2 / divisor).to(values), mask=stored[:, None])
