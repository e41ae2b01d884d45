"""Hooks around a transformer's forward: plain torch hooks, which survive model offload, as objects of a class.

`torch.compiler.disable` keeps what they do out of compiled graphs.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn

import torch
from torch.nn import Module

from videosieve.errors import IntegrationError


class _Hook:
    """A forward hook that copies take along, as they do functions, and that no file can hold."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    @torch.compiler.disable  # the method itself, or it would be a frame of its own that fullgraph finds broken
    def __call__(self, *args: Any) -> None:
        self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Hook":
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise IntegrationError(
            "a transformer can be pickled only as a plain one, and this one belongs to a run; call .remove() on the "
            "run first, or save its weights: state_dict() and save_pretrained() know nothing of the run"
        )


def hook_forward(
    transformer: Module, before: Callable[..., None], after: Callable[..., None], undo: ExitStack
) -> None:
    """Have functions called around every forward of a transformer.

    Args:
        transformer: The transformer.
        before: Called with the module, the arguments and the named arguments.
        after: Called with the module, the arguments and the output, unless the forward ends in an error.
        undo: Takes the hooks off again when it closes.
    """
    hooks: tuple[Any, Any] = _Hook(before), _Hook(after)
    undo.callback(transformer.register_forward_pre_hook(hooks[0], with_kwargs=True).remove)
    undo.callback(transformer.register_forward_hook(hooks[1]).remove)
