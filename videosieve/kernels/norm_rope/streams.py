"""What goes into `norm_rope` and what comes out."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import FLOATS, check_device, check_floats, check_tensor

FP8_LARGEST = 448.0
"""Largest value of float8_e4m3fn."""


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """A normalisation of queries or keys.

    Attributes:
        kind: "rms" divides by the root mean square, "layer" subtracts the mean first and divides by the deviation.
        eps: Added to the mean square before the root; finite, not negative.
        weight: Factors [head_dim], or [heads · head_dim] where `across_heads`; None means 1.
        bias: Summands shaped like the weight; None means 0.
        across_heads: Whether one token's heads share one mean, as in Wan; otherwise every head has its own.
    """

    kind: Literal["rms", "layer"]
    eps: float
    weight: Tensor | None = None
    bias: Tensor | None = None
    across_heads: bool = False


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary positions of a stream's tokens.

    Attributes:
        cos: Cosine per token and pair [tokens, head_dim / 2], any strides.
        sin: Sine, shaped like cos.
        halves: Whether pair i is values (i, i + head_dim / 2), as in Cosmos; otherwise (2i, 2i + 1), as in
            HunyuanVideo, CogVideoX and Wan.
    """

    cos: Tensor
    sin: Tensor
    halves: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """A stretch of the sequence whose tokens are treated alike: the video, or the text.

    Attributes:
        q: Queries as the projection leaves them [batch, heads, tokens, head_dim], any strides.
        k: Keys, shaped like q.
        q_norm: Normalisation of the queries; None leaves them.
        k_norm: Normalisation of the keys; None leaves them.
        rotation: Rotary positions; None for tokens without, such as text.
    """

    q: Tensor
    k: Tensor
    q_norm: HeadNorm | None = None
    k_norm: HeadNorm | None = None
    rotation: Rotation | None = None

    def __post_init__(self) -> None:
        check_floats(q=self.q, k=self.k)
        if self.q.shape != self.k.shape:
            raise ShapeError(
                f"q and k of a stream must share one shape [batch, heads, tokens, head_dim] and dtype, "
                f"got {list(self.q.shape)} {self.q.dtype} and {list(self.k.shape)} {self.k.dtype}"
            )
        for norm in (self.q_norm, self.k_norm):
            _check_norm(norm, self.q)
        _check_rotation(self.rotation, self.q)


class NormRope(NamedTuple):
    """Queries and keys that attention can read.

    Attributes:
        q: [batch, heads, tokens, head_dim] in the dtype of the streams; tokens of all streams, in the order asked for.
            A view of [batch, tokens, heads, head_dim], the layout of the projections.
        k: Likewise.
        q8: q in float8_e4m3fn with `q8 · q_scale ≈ q`; None unless asked for.
        k8: Likewise.
        q_scale: fp32 [batch, heads, tokens]; the largest magnitude of a token's values falls on 448.
        k_scale: Likewise.
    """

    q: Tensor
    k: Tensor
    q8: Tensor | None = None
    k8: Tensor | None = None
    q_scale: Tensor | None = None
    k_scale: Tensor | None = None


def _check_norm(norm: HeadNorm | None, x: Tensor) -> None:
    if norm is None:
        return
    if not isinstance(norm, HeadNorm) or norm.kind not in ("rms", "layer"):
        raise ShapeError(f"a norm is a HeadNorm of kind 'rms' or 'layer', got {norm!r:.60}")
    _check_switch("across_heads", norm.across_heads)
    eps = norm.eps
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < math.inf:
        raise ShapeError(f"the norm's eps must be finite and not negative, got {eps!r}")
    width = x.shape[1] * x.shape[3] if norm.across_heads else x.shape[3]
    for name, values in (("weight", norm.weight), ("bias", norm.bias)):
        if values is None:
            continue
        check_tensor(f"the norm's {name}", values, (str(width),), FLOATS)
        if values.shape != (width,):
            raise ShapeError(
                f"the norm's {name} must be [{width}] with across_heads={norm.across_heads}, got {list(values.shape)}"
            )
        check_device(f"the norm's {name}", values, x.device)


def _check_rotation(rotation: Rotation | None, x: Tensor) -> None:
    if rotation is None:
        return
    if not isinstance(rotation, Rotation):
        raise ShapeError(f"rotation must be a Rotation, got {type(rotation).__name__}")
    _check_switch("halves", rotation.halves)
    _, _, tokens, head_dim = x.shape
    for name, table in (("cos", rotation.cos), ("sin", rotation.sin)):
        check_tensor(name, table, ("tokens", "head_dim / 2"), FLOATS)
        if head_dim % 2 or table.shape != (tokens, head_dim // 2):
            raise ShapeError(
                f"{name} must be [tokens, head_dim / 2] for {tokens=} and {head_dim=}, got {list(table.shape)}"
            )
        check_device(name, table, x.device)


def _check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ShapeError(f"{name} is True or False, got {value!r}")
