"""How far a kernel may be from the truth: derived from the arithmetic of its inputs, not tuned.

The budget is twice the error that a plain computation of the same precision makes, plus a rounding band and what the
rounding of scores can do to their weights. A kernel that sums in another order stays inside it; one that drops a key, a
scale or a row does not.
"""

import math

import torch
from torch import Tensor

from videosieve.testing.oracles import attention_oracle

# A value is rounded when its score, its weight, its sum and its quotient are formed.
ROUNDINGS = 4
E4M3_STEP = 2.0**-4
"""e4m3 has three bits after the point: a normal value is off by at most 1/16 of itself."""
E4M3_LEAST = 2.0**-10
"""Half of the least step of e4m3, in units of a scale: what a value near 0 may be off."""


def plain_attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention in the precision of its inputs: weights rounded to the dtype of v, sums in fp32.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        keep: bool [batch|1, heads|1, queries, keys].
        scale: Factor on every q·k.

    Returns:
        Output [batch, heads, queries, head_dim] and LSE [batch, heads, queries]; NaN where no key is kept.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) @ k.to(wide).mT * scale).masked_fill(~keep, -torch.inf)
    largest = scores.amax(-1, keepdim=True)
    weights = (scores - largest).exp().to(v.dtype).to(wide)
    total = weights.sum(-1, keepdim=True)
    return (weights @ v.to(wide) / total).to(v.dtype), (total.log() + largest).squeeze(-1)


def assert_attention(
    actual: tuple[Tensor, Tensor],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keep: Tensor,
    scale: float,
    *,
    lse_slack: float = 0.0,
) -> None:
    """Raise an AssertionError unless output and LSE are as near to fp64 as their precision allows.

    Args:
        actual: Output [batch, heads, queries, head_dim] and LSE [batch, heads, queries] under test.
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        keep: bool [batch|1, heads|1, queries, keys].
        scale: Factor on every q·k.
        lse_slack: What else the LSE may be off, for kernels that sum rounded weights.
    """
    exact = attention_oracle(q, k, v, keep, scale)
    plain = plain_attention(q, k, v, keep, scale)
    empty = exact[1].isneginf()
    for name, got, want, rough in zip(("output", "LSE"), actual, exact, plain, strict=True):
        if got.shape != want.shape:
            raise AssertionError(f"{name} must be {list(want.shape)}, got {list(got.shape)}")
        if not torch.equal(got[empty].double(), want[empty]):
            raise AssertionError(
                f"a query without keys must have output 0 and LSE −inf, got {name} {got[empty]}"
            )
        if not empty.all():
            # A logarithm turns the relative error of its sum into an absolute one, however near to zero it comes out.
            least = 1.0 if name == "LSE" else 0.0
            slack = score_rounding(q, k, v, keep, scale) if name == "output" else lse_slack
            assert_within(got[~empty], rough[~empty], want[~empty], name, least, slack)


def score_rounding(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, scale: float) -> float:
    """How much the output can move where every score s is off by its fp32 rounding, ε·|s|, to first order.

    The output o moves by Σ w·(v − o)·ε·s, which by Cauchy and Schwarz is at most ε·√(Σ w·s²)·√(Σ w·v² − o²).

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        keep: bool [batch|1, heads|1, queries, keys].
        scale: Factor on every q·k.

    Returns:
        The largest of all entries; small where scores are small or one key has all the weight.
    """
    q, k, v = q.double(), k.double(), v.double()
    scores = q @ k.mT * scale
    weights = scores.masked_fill(~keep, -torch.inf).softmax(-1).nan_to_num()
    spread = (weights @ v.square() - (weights @ v).square()).clamp(min=0).sqrt()
    size = (weights * scores.square()).sum(-1, keepdim=True).sqrt()
    return torch.finfo(torch.float32).eps * float((size * spread).max())


def assert_within(
    actual: Tensor, rough: Tensor, exact: Tensor, name: str, least: float = 0.0, slack: float = 0.0
) -> None:
    """Raise an AssertionError unless the largest error is within 2 × (error of `rough` + rounding band + slack).

    Args:
        actual: Under test.
        rough: A plain computation in the same precision.
        exact: fp64.
        name: For the message.
        least: Size of the numbers that are rounded on the way, where it can be more than that of the result.
        slack: What else may be off, an absolute error.
    """
    band = ROUNDINGS * torch.finfo(actual.dtype).eps * max(float(exact.abs().max()), least)
    budget = 2 * (float((rough.double() - exact).abs().max()) + band + slack)
    error = float((actual.double() - exact).abs().max())
    if not error <= budget:  # also when it is NaN
        raise AssertionError(f"{name} is off by {error:.3g}, more than {budget:.3g}, in {actual.dtype}")


def assert_fp8_attention(
    result: tuple[Tensor, Tensor],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pairs: Tensor,
    scale: float,
    dtype: torch.dtype | None = None,
) -> None:
    """Raise an AssertionError unless output and LSE are as near to fp64 as e4m3 scores allow.

    A score moves by at most δ = scale · |q|·|k − mean| · (2/16 + 1/256), a weight by exp(2δ), and so an output.

    Args:
        result: Output [batch, heads, queries, head_dim] and LSE [batch, heads, queries].
        q: Queries [batch, heads, queries, head_dim].
        k: All keys [batch, heads, keys, head_dim]; their mean counts.
        v: Values [batch, heads, keys, head_dim].
        pairs: bool [batch|1, heads|1, queries, keys].
        scale: Factor on every q·k.
        dtype: Of the kernel's inputs; that of q where left out.
    """
    exact, exact_lse = attention_oracle(q, k, v, pairs, scale)
    smooth = (k.double() - k.double().mean(2, keepdim=True)).abs()
    moved = scale * float((q.double().abs() @ smooth.mT).amax()) * (2 * E4M3_STEP + E4M3_STEP**2)
    kept, (output, lse) = exact_lse.isfinite(), result
    require(torch.equal(kept, lse.isfinite()), "a query without keys must have LSE −inf, and no other")
    if not kept.any():
        return require(not output.any(), "a query without keys must have output 0")
    error, size = float((output.double() - exact).abs().sum()), float(v.double().abs().amax()) * exact.numel()
    half = dtype or q.dtype
    half = torch.float16 if half == torch.float32 else half  # in which weights meet the values
    most = math.expm1(2 * moved) + 8 * torch.finfo(half).eps
    require(
        error <= most * size, f"the output is off by {error / size:.3g} of the values, more than {most:.3g}"
    )
    shift, rounding = float((lse[kept].double() - exact_lse[kept]).abs().max()), weight_rounding(half)
    require(
        shift <= moved + rounding + 1e-5, f"the LSE is off by {shift:.3g}, more than {moved + rounding:.3g}"
    )
    return None


def weight_rounding(dtype: torch.dtype) -> float:
    """What the LSE may be off where weights of half precision are summed: every one by half a step of its type."""
    return torch.finfo(dtype).eps / 2 if dtype in (torch.bfloat16, torch.float16) else 0.0


def require(holds: bool, message: str) -> None:
    """Raise an AssertionError with the message unless it holds."""
    if not holds:
        raise AssertionError(message)
