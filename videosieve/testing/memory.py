"""Tensors anywhere in memory: strided, transposed, expanded, sliced, overlapping; and memory that is not zero."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
from torch import Tensor


def lay_out(
    source: Random, shape: tuple[int, ...], dtype: torch.dtype, *, values: Tensor | None = None
) -> Tensor:
    """A tensor whose values lie in memory in one of many ways, none of which changes what it means.

    Args:
        source: Of the choice and of the values.
        shape: At least one axis, no axis of 0.
        dtype: Floating point: standard normal values. bool: about half True.
        values: To be used in place of drawn ones; rounded to dtype. Axes are not expanded and do not overlap then.

    Returns:
        The tensor.
    """
    ways = [_plain, _plain, _strided, _permuted, _sliced]
    if values is None:
        values = draw_values(source, shape, dtype)
        ways += [_expanded, _overlapping]
    return source.choice(ways)(source, values.to(dtype))


def draw_values(source: Random, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Standard normal values, or True and False, contiguous."""
    generator = torch.Generator().manual_seed(source.randint(0, 2**31))
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _plain(_source: Random, x: Tensor) -> Tensor:
    return x.contiguous()


def _strided(source: Random, x: Tensor) -> Tensor:
    axis, step = source.randrange(x.ndim), source.choice((2, 3))
    return x.repeat_interleave(step, axis).narrow(axis, 0, x.shape[axis] * step)[
        tuple(slice(None, None, step if i == axis else 1) for i in range(x.ndim))
    ]


def _permuted(source: Random, x: Tensor) -> Tensor:
    order = source.sample(range(x.ndim), x.ndim)
    back = sorted(range(x.ndim), key=order.__getitem__)
    return x.permute(order).contiguous().permute(back)


def _sliced(source: Random, x: Tensor) -> Tensor:
    edges = [(source.randint(0, 2), source.randint(0, 2)) for _ in range(x.ndim)]
    around = torch.zeros([n + a + b for n, (a, b) in zip(x.shape, edges, strict=True)], dtype=x.dtype)
    inside = around[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, edges, strict=True))]
    inside.copy_(x)
    return inside


def _expanded(source: Random, x: Tensor) -> Tensor:
    axis = source.randrange(x.ndim)
    return x.narrow(axis, 0, 1).clone().expand(x.shape)


def _overlapping(source: Random, x: Tensor) -> Tensor:
    strides = [source.choice((0, 1, 2, 3)) for _ in range(x.ndim)]
    last = sum((n - 1) * step for n, step in zip(x.shape, strides, strict=True))
    flat = x.flatten().repeat(-(-(last + 1) // x.numel()))
    return flat.as_strided(x.shape, strides)


def misaligned(x: Tensor) -> Tensor:
    """The same values one byte past where values of their size belong."""
    memory = bytearray(x.numel() * x.element_size() + 1)
    return torch.frombuffer(memory, dtype=x.dtype, offset=1, count=x.numel()).view(x.shape).copy_(x)


def shrunk(x: Tensor) -> Tensor:
    """A tensor whose memory was made too small for it afterwards."""
    x = x.clone()
    x.untyped_storage().resize_((x.numel() * x.element_size()) // 2)
    return x


@contextmanager
def poisoned() -> Iterator[None]:
    """Inside, what torch.empty and its relatives return is NaN, so that reading it before writing shows."""
    with torch.device(
        "cpu"
    ):  # torch notes once which functions make tensors: these, not what stands in for them here
        torch.empty(0)
    owners: tuple[tuple[Any, str], ...] = (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch.Tensor, "new_empty"),
    )
    before = [getattr(owner, name) for owner, name in owners]
    for (owner, name), allocate in zip(owners, before, strict=True):
        setattr(owner, name, _poisoned(allocate))
    try:
        yield
    finally:
        for (owner, name), allocate in zip(owners, before, strict=True):
            setattr(owner, name, allocate)


def _poisoned(allocate: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def allocate_nan(*args: Any, **kwargs: Any) -> Tensor:
        memory = allocate(*args, **kwargs)
        return memory.fill_(torch.nan) if memory.is_floating_point() else memory

    return allocate_nan
