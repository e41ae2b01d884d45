"""Runs a model without memory that asks for values: those of small tensors, and what is computed of them, are known."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

_MOST = 2**20
"""Elements of the largest tensor whose values are kept: an image's embeddings, which a model may compare with zero."""

_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]
_MAKERS = (torch.zeros, torch.ones, torch.full, torch.arange)
_READERS = (
    Tensor.__bool__,
    Tensor.__int__,
    Tensor.__index__,
    Tensor.__getitem__,
    Tensor.__setitem__,
    Tensor.item,
    Tensor.tolist,
    Tensor.nonzero,
    torch.nonzero,
)
"""What needs values to say how large its result is."""


class KnownValues(TorchFunctionMode):
    """Meta tensors with values: a model may ask for them (`bool`, an index, `x[mask]`, `nonzero`).

    A forward on the meta device has shapes and no values. Models that gather the valid rows of a text, or cut its
    padding off, need some. Tensors that stand on the CPU when they are handed to `place` have theirs; so have integers
    and booleans that are computed of such tensors alone, or made of nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values = WeakTensorKeyDictionary()

    def place(self, value: Any) -> Any:
        """Tensors, or a structure of them, on the meta device; small ones from the CPU keep their values."""
        return tree_map(lambda one: self._placed(one) if isinstance(one, Tensor) else one, value)

    def _placed(self, value: Tensor) -> Tensor:
        empty = value.to("meta")
        if value.device.type == "cpu" and value.numel() <= _MOST:
            self._values[empty] = value.clone()
        return empty

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        tensors = [x for x in tree_leaves([_opened(args), kwargs]) if isinstance(x, Tensor)]
        if any(not x.is_meta for x in tensors):  # an attribute of a model that is no buffer, or a constant
            args, kwargs = self.place(args), self.place(kwargs)
            tensors = [x for x in tree_leaves([_opened(args), kwargs]) if isinstance(x, Tensor)]
        known = [x in self._values for x in tensors]
        if func == _DEVICE:
            return torch.device("cpu")  # models ask for it to open autocast, which knows no meta device
        if func in _READERS and tensors and all(known):
            return self._computed(func, args, kwargs)
        given, options = args, kwargs
        args, kwargs = _moved(args), _moved(kwargs)
        if any(known) and func in (Tensor.__getitem__, Tensor.__setitem__):
            return func(args[0], self._filled(args[1]), *args[2:])  # rows without values, picked by a mask
        result = func(*args, **kwargs)
        made = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        told = all(known) if tensors else func in _MAKERS
        if (
            told and made and all(_counts(one) for one in made)
        ):  # looked at first: a square mask has gigabytes
            return self._computed(func, given, options if tensors else {**options, "device": "cpu"})
        return result

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What comes out of values alone: numbers as they are, tensors without memory, those that count with it."""
        told = {key: self._filled(value) for key, value in kwargs.items()}
        if "device" in told:
            told["device"] = "cpu"
        result = func(*(self._filled(value) for value in args), **told)

        def empty(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return self._placed(value) if _counts(value) else value.to("meta")

        return tree_map(empty, result)

    def _filled(self, value: Any) -> Any:
        """A structure with values in the place of tensors that have them; slices may hold some too."""
        if isinstance(value, slice):
            return slice(*(self._filled(one) for one in (value.start, value.stop, value.step)))
        if isinstance(value, tuple | list):
            return type(value)(self._filled(one) for one in value)
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return self._values.get(value, value) if isinstance(value, Tensor) else value


def _moved(value: Any) -> Any:
    """A structure with the meta device where the CPU was asked for, on which the model believes its tensors."""
    if isinstance(value, torch.device | str) and str(value) == "cpu":
        return torch.device("meta")
    if isinstance(value, dict):
        return {key: _moved(one) for key, one in value.items()}
    if type(value) is tuple:
        return tuple(_moved(one) for one in value)
    return [_moved(one) for one in value] if type(value) is list else value


def _opened(value: Any) -> Any:
    """A structure with slices as lists, so that what they hold is found."""
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    return [_opened(one) for one in value] if isinstance(value, tuple | list) else value


def _counts(value: Tensor) -> bool:
    """Whether the values of a tensor can say how long something is."""
    return not (value.is_floating_point() or value.is_complex()) and value.numel() <= _MOST
