"""Calls of the kernel ops as nobody would make them on purpose: odd sizes, odd memory, arguments that do not fit.

Everything is drawn from a `random.Random`, so that Hypothesis (`st.randoms()`) can shrink a call and a seed can repeat
it. A drawn call either fits, and then the op must answer what fp64 says, or was spoiled, and may be refused instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from videosieve import kernels
from videosieve.kernels import Centroids
from videosieve.kernels.centroids import key_offsets
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.kernel_tables import draw_deal, draw_log_sizes, draw_mask, draw_offsets, draw_order
from videosieve.testing.kernel_truth import JUDGES
from videosieve.testing.memory import lay_out

DTYPES = (torch.float32, torch.float32, torch.bfloat16, torch.float16, torch.float64)
TOKENS, HEAD_DIMS = (1, 2, 5, 16, 17, 31, 40, 63, 70), (1, 3, 8, 16, 32, 48, 64, 128)


@dataclass(frozen=True)
class KernelCall:
    """One call of an op.

    Attributes:
        op: Its name.
        arguments: What it takes, by name.
    """

    op: str
    arguments: Mapping[str, Any]

    def run(self, backend: str | None) -> Any:
        """What the op returns, by an implementation or by the automatic choice."""
        return getattr(kernels, self.op)(**self.arguments, backend=backend)

    def judge(self, result: Any, backend: str | None) -> None:
        """Raise an AssertionError unless the result is right; of a result without memory nothing can be said."""
        parts = [result] if isinstance(result, torch.Tensor) else result
        if any(part is not None and part.device.type == "meta" for part in parts):
            return
        JUDGES[self.op](result, backend or "", **self.arguments)

    def __str__(self) -> str:
        parts = (f"{name}={_describe(value)}" for name, value in self.arguments.items())
        return f"{self.op}({', '.join(parts)})"


def draw_call(source: Random, op: str, dtypes: tuple[torch.dtype, ...] = DTYPES) -> KernelCall:
    """A call that fits, its tensors anywhere in memory.

    Args:
        source: Of every choice.
        op: Name of the op.
        dtypes: To choose from.

    Returns:
        The call.
    """
    return KernelCall(op, _DRAW[op](source, source.choice(dtypes)))


class _Shape:
    """Sizes that the tensors of one call share."""

    def __init__(self, source: Random) -> None:
        self.batch, self.heads = source.choice((1, 1, 2)), source.choice((1, 2, 3))
        self.queries, self.keys = source.choice(TOKENS), source.choice(TOKENS)
        self.head_dim = source.choice(HEAD_DIMS)

    def tensor(self, source: Random, dtype: torch.dtype, tokens: int | None = None) -> torch.Tensor:
        shape = (self.batch, self.heads, self.keys if tokens is None else tokens, self.head_dim)
        return lay_out(source, shape, dtype)

    def lead(self, source: Random) -> tuple[int, int]:
        return source.choice((1, self.batch)), source.choice((1, self.heads))


def _qkv(source: Random, dtype: torch.dtype) -> tuple[_Shape, dict[str, Any]]:
    shape = _Shape(source)
    q = shape.tensor(source, dtype, shape.queries)
    return shape, {
        "q": q,
        "k": shape.tensor(source, dtype),
        "v": shape.tensor(source, dtype),
        **_scale(source),
    }


def _scale(source: Random) -> dict[str, Any]:
    return source.choice(({}, {"scale": None}, {"scale": 0.3}, {"scale": -1.0}, {"scale": 0}, {"scale": 1.0}))


def _block_sparse(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape, arguments = _qkv(source, dtype)
    mask = draw_mask(source, shape.lead(source), shape.lead(source), shape.queries, shape.keys)
    for name, tokens in (("query_order", shape.queries), ("key_order", shape.keys)):
        if source.random() < 0.3:
            arguments[name] = draw_order(source, shape.lead(source), tokens)
    return {**arguments, "mask": mask}


def _dense(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape, arguments = _qkv(source, dtype)
    return {**arguments, "causal": source.random() < 0.3 and shape.queries <= shape.keys}


def _sampled(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape, arguments = _qkv(source, dtype)
    masks = [
        lay_out(source, (*shape.lead(source), shape.queries, shape.keys), torch.bool)
        for _ in range(source.choice((1, 1, 2, 3, 9)))
    ]
    return {**arguments, "masks": masks}


def _mass(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    _, arguments = _qkv(source, dtype)
    q, k = arguments["q"], arguments["k"]
    scale = arguments.get("scale")
    exact = (q.double() @ k.double().mT * (q.shape[-1] ** -0.5 if scale is None else scale)).logsumexp(-1)
    wide = torch.promote_types(dtype, torch.float32)
    lse = lay_out(source, tuple(exact.shape), source.choice((wide, torch.float32)), values=exact)
    del arguments["v"]
    return {
        **arguments,
        "lse": lse,
        "block": BlockSize(source.choice((1, 7, 16, 33, 200)), source.choice((1, 16, 20))),
    }


def _antidiagonal(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    _, arguments = _qkv(source, dtype)
    del arguments["v"]
    return {**arguments, "stride": source.choice((1, 2, 3, 8, 16, 100, 1025))}


def _antidiagonal_mass(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _antidiagonal(source, dtype)
    q, k, stride = (arguments[name] for name in ("q", "k", "stride"))
    causal = source.random() < 0.3 and q.shape[2] <= k.shape[2]
    return {**arguments, "side": stride * source.choice((1, 2, 5)), "causal": causal}


def _kmeans(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape = _Shape(source)
    x, clusters = shape.tensor(source, dtype), source.randint(1, shape.keys)
    arguments: dict[str, Any] = {"x": x, "clusters": clusters, "iterations": source.choice((1, 1, 2, 5))}
    if source.random() < 0.7:
        start = (shape.batch, shape.heads, clusters, shape.head_dim)
        arguments["centroids"] = lay_out(source, start, source.choice((torch.float32, dtype)))
    return arguments


def _norm_rope(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape = _Shape(source)
    shape.head_dim = source.choice((2, 16, 64, 64, 128))
    streams = [_stream(source, shape, dtype) for _ in range(source.choice((1, 1, 2, 3)))]
    arguments: dict[str, Any] = {"streams": streams}
    if source.random() < 0.4:
        tokens = sum(s.q.shape[2] for s in streams)
        arguments["order"] = draw_order(source, shape.lead(source), tokens)
        if source.random() < 0.5:
            arguments["heads"] = lay_out(source, (source.choice((1, shape.batch)), shape.heads), torch.bool)
    return arguments


def _stream(source: Random, shape: _Shape, dtype: torch.dtype) -> Stream:
    tokens = source.choice(TOKENS[:6])
    q, k = (shape.tensor(source, dtype, tokens) for _ in "qk")
    rotation = None
    if source.random() < 0.6:
        table = (tokens, shape.head_dim // 2)
        cos, sin = (lay_out(source, table, torch.float32) for _ in range(2))
        rotation = Rotation(cos, sin, source.random() < 0.5)
    return Stream(q, k, _norm(source, shape, dtype), _norm(source, shape, dtype), rotation)


def _norm(source: Random, shape: _Shape, dtype: torch.dtype) -> HeadNorm | None:
    if source.random() < 0.3:
        return None
    across = source.random() < 0.3
    width = (shape.heads * shape.head_dim if across else shape.head_dim,)
    weight, bias = (
        lay_out(source, width, source.choice((dtype, torch.float32))) if source.random() < 0.6 else None
        for _ in range(2)
    )
    return HeadNorm(source.choice(("rms", "layer")), source.choice((1e-2, 1e-6)), weight, bias, across)


def _reorder(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape = _Shape(source)
    arguments: dict[str, Any] = {"x": shape.tensor(source, dtype)}
    arguments["order"] = draw_order(source, shape.lead(source), shape.keys)
    if source.random() < 0.5:
        arguments["heads"] = lay_out(source, shape.lead(source), torch.bool)
    return arguments


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        if value.is_nested or value.layout != torch.strided:
            return f"{type(value).__name__} of layout {value.layout}, nested {value.is_nested}"
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)} strides {list(value.stride())}"
    if isinstance(value, list):
        return f"[{', '.join(_describe(part) for part in value)}]"
    if isinstance(value, BlockMask | RaggedBlockMask):
        return f"{type(value).__name__}({_describe(value.keep)}, {value.queries} × {value.keys})"
    if isinstance(value, Centroids):
        return f"Centroids({_describe(value.keys)}, {_describe(value.log_sizes)}, {_describe(value.allowed)})"
    return f"{type(value).__name__}" if isinstance(value, Stream) else repr(value)


def _compensated(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _block_sparse(source, dtype)
    q, mask = arguments["q"], arguments["mask"]
    lead, (rows, columns) = (q.shape[0], q.shape[1]), mask.keep.shape[2:]
    keys, values = (lay_out(source, (*lead, columns, q.shape[3]), dtype) for _ in "kv")
    allowed = None
    if source.random() < 0.4:
        allowed = lay_out(source, (*_shared(source, lead), rows, columns), torch.bool)
    real = key_offsets(mask).diff() > 0  # an empty block has a size of 0, whatever else is drawn
    sizes = draw_log_sizes(source, (real.shape[0], real.shape[1]), columns, real)
    return {**arguments, "centroids": Centroids(keys, values, sizes, allowed)}


def _pool(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape = _Shape(source)
    offsets = draw_offsets(source, (*shape.lead(source), source.randint(1, 9)), shape.keys)
    arguments = {"x": shape.tensor(source, dtype), "offsets": offsets}
    if source.random() < 0.4:
        arguments["order"] = draw_order(source, shape.lead(source), shape.keys)
    return arguments


def _moments(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    arguments = _pool(source, dtype)
    if source.random() < 0.7:
        axes = source.choice((1, 3, 4, 7, 16))
        arguments["y"] = lay_out(source, (*arguments["x"].shape[:3], axes), dtype)
    return arguments


def _centroid_mass(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    shape = _Shape(source)
    arguments: dict[str, Any] = {
        "q": shape.tensor(source, dtype, shape.queries),
        "keys": shape.tensor(source, dtype),
        "log_sizes": draw_log_sizes(source, shape.lead(source), shape.keys),
        "offsets": draw_offsets(source, (*shape.lead(source), source.randint(1, 9)), shape.queries),
        **_scale(source),
    }
    if source.random() < 0.4:
        arguments["order"] = draw_order(source, shape.lead(source), shape.queries)
    return arguments


def _shared(source: Random, lead: tuple[int, int]) -> tuple[int, int]:
    return source.choice((1, lead[0])), source.choice((1, lead[1]))


_DRAW: dict[str, Callable[[Random, torch.dtype], dict[str, Any]]] = {
    "antidiagonal_mass": _antidiagonal_mass,
    "antidiagonal_scores": _antidiagonal,
    "block_mass": _mass,
    "block_moments": _moments,
    "block_sparse_attention": _block_sparse,
    "centroid_mass": _centroid_mass,
    "compensated_attention": _compensated,
    "deal_budget": draw_deal,
    "dense_attention": _dense,
    "kmeans": _kmeans,
    "norm_rope": _norm_rope,
    "pool_blocks": _pool,
    "reorder_tokens": _reorder,
    "sampled_attention": _sampled,
}
OPS = tuple(_DRAW)
