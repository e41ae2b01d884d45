"""How often a program waits for the device: tensors that stand for ones on a GPU and count who reads their values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_READS = (
    Tensor.cpu,
    Tensor.item,
    Tensor.tolist,
    Tensor.numpy,
    Tensor.nonzero,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
    torch.equal,
    torch.nonzero,
    torch.allclose,
)


class Count:
    """Attributes: reads: how often values were waited for."""

    def __init__(self) -> None:
        self.reads = 0


_counts: list[Count] = []


class OnDevice(Tensor):
    """A CPU tensor that stands for one on a device: what is computed from it is there too, `cpu` brings it here."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _READS:
            return super().__torch_function__(func, types, args, kwargs or {})
        for count in _counts:
            count.reads += 1
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result.as_subclass(Tensor) if isinstance(result, Tensor) else result


def on_device(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a forward, every tensor as if it were on a device."""
    return {name: x.as_subclass(OnDevice) if isinstance(x, Tensor) else x for name, x in arguments.items()}  # type: ignore[misc]


@contextmanager
def count_reads() -> Iterator[Count]:
    """Counts the reads of `OnDevice` tensors while it is open."""
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)
