"""One attention call: what goes in, what comes out. Where in a generation it happens is a `Site`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import NumericsError, ShapeError
from videosieve.fields import checked, shown
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST_SCALE = torch.finfo(torch.float32).max
"""Scores are fp32 wherever the inputs are not fp64, and so is the factor on them."""


def resolve_scale(scale: float | None, head_dim: int) -> float:
    """The factor on every q·k.

    Args:
        scale: As given: a finite number, of any sign; None means head_dim ** -0.5.
        head_dim: Values per head.

    Returns:
        The number.

    Raises:
        NumericsError: It is NaN, infinite beyond fp32, a bool or no number.
        ShapeError: head_dim is 0.
    """
    if head_dim < 1:
        raise ShapeError(f"head_dim must be at least 1, got {head_dim}")
    if scale is None:
        return float(head_dim**-0.5)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not abs(scale) <= LARGEST_SCALE:
        raise NumericsError(
            f"scale must be a finite number of at most {LARGEST_SCALE:.2g}, or None for head_dim ** -0.5; "
            f"got {shown(scale)}"
        )
    return float(scale)


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """Queries, keys and values of one self-attention, after QK-norm and RoPE, without padding tokens.

    Attributes:
        q: Queries [batch, heads, tokens, head_dim].
        k: Keys [batch, key heads, keys, head_dim]: as many heads as q, or a divisor of that, neighbouring heads of q
            sharing one; as many tokens as q or more, the last of both belonging together. Only causal methods take
            fewer heads or more tokens.
        v: Values, shaped like k.
        layout: Which key is which.
        site: Layer, step and branch.
        scale: Factor on every q·k, finite; None means head_dim ** -0.5, and that number stands here afterwards.
        guided: Whether the batch holds both branches of guidance, the unconditional half first, or last where
            `conditional_first` is set.
        conditional: False where the call holds nothing but unconditional items of a batch with both.
        conditional_first: As in `guided`.
        gather: Makes values of all heads [batch, all heads] of those of the call's heads [batch, heads], asking the
            other ranks; all of them must ask. None where the call holds all heads.

    Raises:
        ShapeError: The tensors are no floating-point numbers, or disagree with one another, with the layout or with the
            heads of the site.
        NumericsError: The scale is no finite number.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    layout: VideoLayout
    site: Site = field(default_factory=Site)
    # float or None goes in, a float stands here afterwards: two types, which no annotation can say
    scale: Any = None
    guided: bool = False
    conditional: bool = True
    conditional_first: bool = False
    gather: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_tensors(q=self.q, k=self.k, v=self.v)
        for name, value, kind in (
            ("layout", self.layout, VideoLayout),
            ("site", self.site, Site),
            ("guided", self.guided, bool),
            ("conditional", self.conditional, bool),
            ("conditional_first", self.conditional_first, bool),
        ):
            if not isinstance(value, kind):
                checked(name, value, kind, ShapeError)
        if self.gather is not None and not callable(self.gather):
            raise ShapeError(f"gather must be a function or None, got gather={shown(self.gather)}")
        if not _belong_together(self.q, self.k, self.v):
            raise ShapeError(
                "q, k and v must share one shape [batch, heads, tokens, head_dim], but for heads of k and v that "
                f"divide those of q and for further keys, got q {list(self.q.shape)}, k {list(self.k.shape)}, "
                f"v {list(self.v.shape)}"
            )
        if not (
            self.q.dtype == self.k.dtype == self.v.dtype and self.q.device == self.k.device == self.v.device
        ):
            raise ShapeError(
                f"q, k and v must share dtype and device, got {self.q.dtype} on {self.q.device}, "
                f"{self.k.dtype} on {self.k.device}, {self.v.dtype} on {self.v.device}"
            )
        self.layout.require(self.keys)
        if self.site.heads and len(self.site.head_numbers) != self.heads:
            raise ShapeError(
                f"the call holds {self.heads} heads, and its site names {len(self.site.head_numbers)} of the model's "
                f"{self.site.heads}: {list(self.site.head_numbers)}"
            )
        object.__setattr__(self, "scale", resolve_scale(self.scale, self.q.shape[-1]))

    @property
    def batch(self) -> int:
        return self.q.shape[0]

    @property
    def heads(self) -> int:
        return self.q.shape[1]

    @property
    def all_heads(self) -> int:
        """Heads of the model; those of the call where it holds them all."""
        return self.site.heads or self.heads

    @property
    def head_numbers(self) -> tuple[int, ...]:
        """Which of the model's heads the call holds, in its order."""
        return self.site.head_numbers or tuple(range(self.heads))

    def of_these_heads(self, values: Tensor) -> Tensor:
        """Those of the call's heads, in its order, of values [batch, all heads, …]."""
        held = self.site.head_numbers
        if not held:
            return values
        first = held[0]
        if held == tuple(range(first, first + len(held))):
            return values[:, first : first + len(held)]
        return values[:, list(held)]

    def of_all_heads(self, values: Tensor) -> Tensor:
        """Values of all heads [batch, all heads]; `values` are those of the call's [batch, heads]."""
        if self.heads == self.all_heads:
            return values
        if self.gather is None:
            raise ShapeError(
                f"the call holds {self.heads} of {self.all_heads} heads, and a choice among all of them needs `gather`"
            )
        return self.gather(values)

    @property
    def tokens(self) -> int:
        """Queries."""
        return self.q.shape[2]

    @property
    def keys(self) -> int:
        return self.k.shape[2]

    @property
    def ahead(self) -> int:
        """Keys before the own key of the first query: query i sits at key i + ahead."""
        return self.keys - self.tokens

    @property
    def is_square(self) -> bool:
        """Whether queries and keys are the same tokens of the same heads."""
        return self.q.shape == self.k.shape

    def pairs(self, *, causal: bool) -> int:
        """Query–key pairs of all heads and batch elements; those alone that are not ahead where it is causal."""
        return _count_pairs(self.batch * self.heads, self.tokens, self.keys, causal)

    @property
    def head_dim(self) -> int:
        return self.q.shape[3]

    @property
    def conditional_rows(self) -> range:
        """Which items of the batch are conditional: all where it holds no other, one half of both, or none."""
        if not self.guided:
            return range(self.batch if self.conditional else 0)
        half = self.batch // 2
        return range(half) if self.conditional_first else range(half, self.batch)

    def guided_halves(self) -> "tuple[AttentionCall, AttentionCall]":
        """The conditional and the unconditional half of a batch with both."""
        first, second = slice(self.batch // 2), slice(self.batch // 2, None)
        places = (first, second) if self.conditional_first else (second, first)
        cond, uncond = (
            replace(
                self,
                q=self.q[some],
                k=self.k[some],
                v=self.v[some],
                site=replace(self.site, branch=branch),
                guided=False,
                conditional=branch == "cond",
            )
            for branch, some in zip(("cond", "uncond"), places, strict=True)
        )
        return cond, uncond

    def check_finite(self) -> None:
        """Raise a NumericsError that names the tensor, head and token of the first NaN or infinity."""
        for name, x in (("q", self.q), ("k", self.k), ("v", self.v)):
            finite = torch.isfinite(x)
            if not finite.all():
                batch, head, token, _ = (~finite).nonzero()[0].tolist()
                raise NumericsError(
                    f"{name} must be finite: first NaN or infinity at {batch=}, {head=}, {token=}, "
                    f"layer={self.site.layer}, step={self.site.step}; {int((~finite).sum())} such values in all"
                )


@lru_cache(maxsize=64)
def _count_pairs(heads: int, queries: int, keys: int, causal: bool) -> int:
    """The same number object for thousands of records."""
    pairs = queries * (keys - queries) + queries * (queries + 1) // 2 if causal else queries * keys
    return heads * pairs


def _belong_together(q: Tensor, k: Tensor, v: Tensor) -> bool:
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or 0 in k.shape:
        return False
    same = q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
    return same and q.shape[1] % k.shape[1] == 0 and k.shape[2] >= q.shape[2]


def check_tensors(**tensors: Tensor) -> None:
    """Refuse what no attention is defined for: other things than tensors, integers, truth, complex and 8-bit numbers.

    Args:
        **tensors: By name.

    Raises:
        ShapeError: One is no tensor of a floating-point type with 16, 32 or 64 bits.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.dtype not in DTYPES or tensor.layout is not torch.strided:
            raise ShapeError(
                f"{name} must be a dense tensor of {', '.join(str(dtype) for dtype in DTYPES)}, got "
                f"{name}={shown(tensor)}; convert it with .to(torch.float32)"
            )


@dataclass(frozen=True, slots=True)
class AttentionResult:
    """What an attention call returns.

    Attributes:
        output: [batch, heads, tokens, head_dim] in the dtype of q.
        lse: fp32 [batch, heads, tokens]; natural log of Σ exp(scale · q·k) over the kept keys.
        mask: The kept blocks, in the order in which they were computed.
        kernel: Implementation that computed it.
        answered_lse: fp32 [batch, heads, tokens]; the same over kept keys and the centroids that answer for the others.
            None where nothing answers. Never the LSE of full attention: an estimate from below.
        answered_density: float64 [batch|1, heads|1]; query–centroid pairs ÷ all query–key pairs.
        more_density: float64 [batch|1, heads|1]; pairs beside the mask that were computed ÷ all pairs; None without.
    """

    output: Tensor
    lse: Tensor
    mask: BlockMask | RaggedBlockMask
    kernel: str = ""
    answered_lse: Tensor | None = None
    answered_density: Tensor | None = None
    more_density: Tensor | None = None
