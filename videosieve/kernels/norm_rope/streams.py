"""What goes into `norm_rope` and what comes out."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from videosieve.errors import ShapeError

FP8_LARGEST = 448.0
"""Largest value of float8_e4m3fn."""


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """A normalisation of queries or keys.

    Attributes:
        kind: "rms" divides by the root mean square, "layer" subtracts the mean first and divides by the deviation.
        eps: Added to the mean square before the root.
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
        if self.q.ndim != 4 or self.q.shape != self.k.shape or self.q.dtype != self.k.dtype:
            raise ShapeError(
                f"q and k of a stream must share one shape [batch, heads, tokens, head_dim] and dtype, "
                f"got {list(self.q.shape)} {self.q.dtype} and {list(self.k.shape)} {self.k.dtype}"
            )
        _, heads, tokens, head_dim = self.q.shape
        for norm in (self.q_norm, self.k_norm):
            _check_norm(norm, heads, head_dim)
        if self.rotation is not None:
            for name, table in (("cos", self.rotation.cos), ("sin", self.rotation.sin)):
                if head_dim % 2 or table.shape != (tokens, head_dim // 2):
                    raise ShapeError(
                        f"{name} must be [tokens, head_dim / 2] for {tokens=} and {head_dim=}, got {list(table.shape)}"
                    )


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


def _check_norm(norm: HeadNorm | None, heads: int, head_dim: int) -> None:
    if norm is None:
        return
    if norm.kind not in ("rms", "layer"):
        raise ShapeError(f"a norm is 'rms' or 'layer', got {norm.kind=}")
    width = heads * head_dim if norm.across_heads else head_dim
    for name, values in (("weight", norm.weight), ("bias", norm.bias)):
        if values is not None and values.shape != (width,):
            raise ShapeError(
                f"the norm's {name} must be [{width}] with across_heads={norm.across_heads}, got {list(values.shape)}"
            )
