"""`norm_rope` inside torch.compile: the whole call is one opaque operator, so that nothing of it breaks the graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videosieve.kernels.norm_rope import reference
from videosieve.kernels.norm_rope.implementations import run
from videosieve.kernels.norm_rope.streams import HeadNorm, NormRope, Rotation, Stream

_KINDS = ("rms", "layer")


def compiled(
    streams: Sequence[Stream], order: Tensor | None, heads: Tensor | None, fp8: bool, backend: str | None
) -> NormRope:
    """The call as one operator; as the reference, which has a backward, where gradients are needed."""
    norms = [norm for s in streams for norm in (s.q_norm, s.k_norm)]
    q, k = [s.q for s in streams], [s.k for s in streams]
    weights = [w for n in norms for w in ((None, None) if n is None else (n.weight, n.bias))]
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (*q, *k, *weights)):
        return reference.norm_rope(streams, order, heads, fp8)
    kinds = [-1 if n is None else _KINDS.index(n.kind) + 2 * n.across_heads for n in norms]
    tables = [t for s in streams for t in ((s.rotation.cos, s.rotation.sin) if s.rotation else (None, None))]
    halves = [s.rotation is not None and s.rotation.halves for s in streams]
    epsilons = [0.0 if n is None else n.eps for n in norms]
    results = torch.ops.videosieve.norm_rope(
        q, k, weights, kinds, epsilons, tables, halves, order, heads, fp8, backend
    )
    return NormRope(*results)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor[] q, Tensor[] k, Tensor?[] weights, SymInt[] kinds, float[] epsilons, Tensor?[] tables, "
    "bool[] halves, Tensor? order, Tensor? heads, bool fp8, str? backend) -> Tensor[]"
)


@torch.library.custom_op("videosieve::norm_rope", mutates_args=(), schema=_SCHEMA)
def _operator(  # noqa: PLR0913 - an operator's schema holds tensors and numbers, not streams
    q: Sequence[Tensor],
    k: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    kinds: Sequence[int],
    epsilons: Sequence[float],
    tables: Sequence[Tensor | None],
    halves: Sequence[bool],
    order: Tensor | None,
    heads: Tensor | None,
    fp8: bool,
    backend: str | None,
) -> list[Tensor]:
    def norm(i: int) -> HeadNorm | None:
        if kinds[i] < 0:
            return None
        kind = "rms" if kinds[i] % 2 == 0 else "layer"
        return HeadNorm(kind, epsilons[i], weights[2 * i], weights[2 * i + 1], kinds[i] >= 2)

    streams = []
    for i, (x, y) in enumerate(zip(q, k, strict=True)):
        cos, sin = tables[2 * i], tables[2 * i + 1]
        rotation = None if cos is None or sin is None else Rotation(cos, sin, halves[i])
        streams.append(Stream(x, y, norm(2 * i), norm(2 * i + 1), rotation))
    return [x for x in run(streams, order, heads, fp8, backend) if x is not None]


@_operator.register_fake
def _shapes(q: Sequence[Tensor], *arguments: object) -> list[Tensor]:
    batch, heads, _, head_dim = q[0].shape
    tokens, fp8 = sum(x.shape[2] for x in q), arguments[-2]
    shape = (batch, tokens, heads, head_dim)
    results = [q[0].new_empty(shape).transpose(1, 2) for _ in "qk"]
    if fp8:
        results += [q[0].new_empty(shape, dtype=torch.float8_e4m3fn).transpose(1, 2) for _ in "qk"]
        results += [q[0].new_empty(batch, heads, tokens, dtype=torch.float32) for _ in "qk"]
    return results
