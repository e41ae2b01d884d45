"""Slots on modules that are no self-attentions, and idle modules in front of them.

A module gets its slot by a dynamic subclass with another `__call__`: it wraps whatever diffusers' own hooks put into
`forward`, and goes with the class. A module that was replaced since, as a LoRA wraps linears in place, hands its slot
on to what stands in its place now; a copy of the transformer has plain modules.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import Module

from videosieve.integrations.diffusers.reuse import Slot

_SLOT, _WIDTH = "videosieve_slot", "videosieve_width"


class ReuseHooks:
    """The hooked modules of one transformer."""

    def __init__(self) -> None:
        self._classes: dict[tuple[type, Callable[[type], type]], type] = {}
        self._places: list[_Place] = []

    def hook(self, transformer: Module, name: str, slot: Slot) -> None:
        """Let the module of that name go through `slot`."""
        self._add(_Place.of(transformer, name, slot, _subclass))

    def idle(self, transformer: Module, name: str, slot: Slot) -> None:
        """Let the module of that name do nothing while the module of `slot` returns its stored output."""
        self._add(_Place.of(transformer, name, slot, _idle_subclass))

    def follow(self) -> None:
        """Hook what stands in the modules' places now. Costs a look each where nothing has changed."""
        for place in self._places:
            module = place.now
            if module is not place.hooked:
                self._release(place)
                self._take(place, module)

    def close(self) -> None:
        """Undo everything."""
        for place in self._places:
            self._release(place)
        self._places.clear()

    def _add(self, place: "_Place") -> None:
        self._places.append(place)
        self._take(place, place.now)

    def _take(self, place: "_Place", module: Any) -> None:
        cls = type(module)
        if (cls, place.make) not in self._classes:
            self._classes[cls, place.make] = place.make(cls)
        module.__dict__[_SLOT] = place.slot
        module.__dict__[_WIDTH] = place.width
        module.__class__ = self._classes[cls, place.make]
        place.hooked, place.own_class = module, cls

    def _release(self, place: "_Place") -> None:
        module = place.hooked
        if module is None:
            return
        place.slot.forget()
        if type(module) is self._classes.get((place.own_class, place.make)):
            module.__class__ = place.own_class
        module.__dict__.pop(_SLOT, None)
        module.__dict__.pop(_WIDTH, None)
        place.hooked = None


@dataclass
class _Place:
    parent: Module
    child: str
    slot: Slot
    make: Callable[[type], type]
    width: int | None
    hooked: Any = None
    own_class: Any = None

    @classmethod
    def of(cls, transformer: Module, name: str, slot: Slot, make: Callable[[type], type]) -> "_Place":
        parent, _, child = name.rpartition(".")
        place = cls(transformer.get_submodule(parent), child, slot, make, None)
        place.width = getattr(place.now, "out_features", None)
        return place

    @property
    def now(self) -> Any:
        """The module that stands here."""
        return getattr(self.parent, self.child)


def _subclass(cls: type) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.videosieve_slot.run(partial(cls.__call__, self), args, kwargs)

    return type(
        cls.__name__, (cls,), {"__call__": call, "__deepcopy__": _copied(cls), "__module__": cls.__module__}
    )


def _idle_subclass(cls: type) -> type:
    def call(self: Any, hidden: Tensor) -> Tensor:
        if not self.videosieve_slot.skips(hidden):
            return cls.__call__(self, hidden)
        width = (
            self.videosieve_width or hidden.shape[-1]
        )  # as wide as it would be: nobody reads it, but some add to it
        return hidden if width == hidden.shape[-1] else hidden.new_zeros(1).expand(*hidden.shape[:-1], width)

    return type(
        cls.__name__, (cls,), {"__call__": call, "__deepcopy__": _copied(cls), "__module__": cls.__module__}
    )


def _copied(cls: Any) -> Callable[[Any, dict[int, Any]], Any]:
    """A copy is a plain module of the model's own class: it is no part of the run."""

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        twin = memo[id(self)] = cls.__new__(cls)
        ours = {_SLOT, _WIDTH}
        twin.__dict__.update(deepcopy({k: v for k, v in self.__dict__.items() if k not in ours}, memo))
        return twin

    return copied
