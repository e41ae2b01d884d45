"""One argument of a kernel call made wrong, or odd but right, in one of many ways."""

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor

from videosieve.kernels import Centroids
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.kernel_inputs import KernelCall
from videosieve.testing.memory import misaligned, shrunk

Spoil = Callable[[Random, Any], Any]

SCALES = (
    math.nan,
    math.inf,
    -math.inf,
    1e39,
    10**400,
    True,
    "0.1",
    [1.0],
    1 + 2j,
    torch.tensor(0.5),
    -1.0,
    0.0,
    None,
)
WHOLES = (0, -1, 2**70, -(2**70), 1.5, math.nan, True, False, None, "4", [2], 2**31, torch.tensor(2), 1, 3)
THINGS = (None, 3, "x", [], [[1.0]], object(), BlockSize(4, 4))


def spoil(source: Random, call: KernelCall) -> KernelCall:
    """The call with one argument changed.

    Args:
        source: Of the choice.
        call: One that fits.

    Returns:
        A call that the op must refuse, or answer rightly where the change happens to fit.

    Raises:
        VideosieveError: A mask or a stream of these parts cannot even be made.
    """
    name = source.choice(sorted(call.arguments))
    value = call.arguments[name]
    return KernelCall(call.op, {**call.arguments, name: _changed(source, name, value)})


def _changed(source: Random, name: str, value: Any) -> Any:
    if name == "scale":
        return source.choice(SCALES)
    if name == "backend":
        return source.choice(THINGS)
    if isinstance(value, bool):
        return source.choice((1, 0, None, "no", math.nan))
    if isinstance(value, int):
        return source.choice(WHOLES)
    if source.random() < 0.1:
        return source.choice(THINGS)
    for kind, change in _CHANGES.items():
        if isinstance(value, kind):
            return change(source, value)
    raise TypeError(f"nothing is known about {name} of {type(value).__name__}")


def spoil_tensor(source: Random, x: Tensor) -> Any:
    """A tensor of another shape, type, memory or device, or with other values where it is an index."""
    return source.choice(_TENSOR_CHANGES + (_INDEX_CHANGES if x.dtype == torch.int64 else ()))(x)


def _axis(change: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor], Tensor]:
    """A change of the longest axis but that of the values, so that there is something to change."""
    return lambda x: change(
        x, max(range(x.ndim), key=lambda axis: (x.shape[axis] > 1, -axis)) if x.ndim else 0
    )


_TENSOR_CHANGES: tuple[Callable[[Tensor], Any], ...] = (
    lambda x: x[..., :0],
    lambda x: x[:0],
    lambda x: x[:, :0] if x.ndim > 1 else x[:0],
    lambda x: x[..., :-1],
    lambda x: x[:, :1] if x.ndim > 1 else x[:1],
    lambda x: torch.cat([x, x]),
    lambda x: torch.cat([x, x], 1) if x.ndim > 1 else torch.cat([x, x]),
    lambda x: torch.cat([x, x], -1),
    lambda x: torch.cat([x, x], -2) if x.ndim > 1 else x[None],
    _axis(lambda x, axis: x.narrow(axis, 0, max(x.shape[axis] - 1, 0))),
    lambda x: x[0],
    lambda x: x[None],
    lambda x: x.flatten(),
    lambda x: x.mT if x.ndim > 1 else x,
    lambda x: x.transpose(0, 1) if x.ndim > 1 else x,
    lambda x: x.to(torch.int32),
    lambda x: x.to(torch.bool),
    lambda x: x.to(torch.complex64),
    lambda x: x.to(torch.float16),
    lambda x: x.to(torch.float64),
    lambda x: x.to(torch.float8_e4m3fn) if x.is_floating_point() else x.to(torch.uint8),
    lambda x: x.to("meta"),
    lambda x: x.to_sparse(),
    lambda x: x.tolist(),
    lambda x: x.contiguous().numpy() if x.dtype != torch.bfloat16 else None,
    lambda x: torch._neg_view(x) if x.dtype != torch.bool else x,  # pyright: ignore[reportPrivateUsage]
    lambda x: misaligned(x) if x.element_size() > 1 else x,
    shrunk,
    lambda x: torch.nested.nested_tensor([x[0], x[0]]) if x.is_floating_point() and x.ndim > 1 else None,
)
_INDEX_CHANGES: tuple[Callable[[Tensor], Any], ...] = (
    lambda x: x + 1,
    lambda x: x - 1,
    lambda x: x * 0,
    lambda x: x * 2**40,
    lambda x: -x,
    lambda x: x.flip(-1),
    lambda x: torch.where(x == x.max(), 2**62, x),
    lambda x: torch.where(x == x.max(), -(2**62), x),
)


def _spoil_list(source: Random, values: list[Any]) -> Any:
    """A list with other members, or none."""
    if source.random() < 0.3:
        return source.choice(([], [None], [3], tuple(values), values * 5, values[0], iter(values)))
    return [_changed(source, "member", values[0]), *values[1:]]


def _spoil_block(source: Random, block: BlockSize) -> Any:
    side = source.choice((1, 2, 2**40, 2**62))
    return source.choice((BlockSize(side, block.key), BlockSize(block.query, side), (block.query, block.key)))


def _spoil_block_mask(source: Random, mask: BlockMask) -> Any:
    parts: list[Any] = [mask.keep, mask.block, mask.queries, mask.keys]
    if source.random() < 0.6:
        parts[0] = spoil_tensor(source, mask.keep)
    else:
        parts[source.choice((2, 3))] += source.choice((-1, 1, mask.block.query))
    return BlockMask(*parts)


def _spoil_ragged_mask(source: Random, mask: RaggedBlockMask) -> Any:
    parts: list[Any] = [mask.keep, mask.query_offsets, mask.key_offsets, mask.queries, mask.keys]
    which = source.randrange(5)
    parts[which] = spoil_tensor(source, parts[which]) if which < 3 else parts[which] + source.choice((-1, 1))
    return RaggedBlockMask(*parts)


def _spoil_centroids(source: Random, centroids: Centroids) -> Any:
    parts: list[Any] = [centroids.keys, centroids.values, centroids.log_sizes, centroids.allowed]
    which = source.choice([i for i, part in enumerate(parts) if part is not None])
    parts[which] = _changed(source, "part", parts[which])
    return Centroids(*parts)


def _spoil_stream(source: Random, stream: Stream) -> Any:
    parts: dict[str, Any] = {"q": stream.q, "k": stream.k, "q_norm": stream.q_norm, "k_norm": stream.k_norm}
    parts["rotation"] = stream.rotation
    name = source.choice([name for name, part in parts.items() if part is not None])
    parts[name] = _changed(source, name, parts[name])
    return Stream(**parts)


def _spoil_norm(source: Random, norm: HeadNorm) -> Any:
    parts: dict[str, Any] = {"kind": norm.kind, "eps": norm.eps, "weight": norm.weight, "bias": norm.bias}
    parts["across_heads"] = norm.across_heads
    name = source.choice([name for name, part in parts.items() if part is not None])
    odd = {"kind": ("l2", None, 3), "eps": (-1.0, math.nan, math.inf, "1", True, 0.0)}
    parts[name] = source.choice(odd[name]) if name in odd else _changed(source, name, parts[name])
    return HeadNorm(**parts)


def _spoil_rotation(source: Random, rotation: Rotation) -> Any:
    cos, sin = spoil_tensor(source, rotation.cos), rotation.sin
    switch: Any = source.choice((1, "no"))
    return source.choice((Rotation(cos, sin), Rotation(sin, cos), Rotation(sin, sin, switch)))


_CHANGES: Mapping[Any, Spoil] = {
    Tensor: spoil_tensor,
    list: _spoil_list,
    BlockSize: _spoil_block,
    BlockMask: _spoil_block_mask,
    RaggedBlockMask: _spoil_ragged_mask,
    Centroids: _spoil_centroids,
    Stream: _spoil_stream,
    HeadNorm: _spoil_norm,
    Rotation: _spoil_rotation,
    type(None): lambda source, _: source.choice(THINGS),
}
