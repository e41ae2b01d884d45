"""What watches over a sparse model: its attention must still be ours, and batching that goes around it is refused."""

from typing import Any, NoReturn

import torch
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.transformers.layers import Stage
from videosieve.integrations.transformers.masks import NAME
from videosieve.integrations.transformers.models import Found

BATCHING = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
"""Continuous batching brings a paged cache and an attention of its own."""


class Guard:
    """Hooks of one sparse model.

    Args:
        model: Whose forward is watched.
        found: Its attention.
        stage: What counts the layers that were reached.
    """

    def __init__(self, model: Module, found: Found, stage: Stage) -> None:
        self._model, self._found, self._stage = model, found, stage
        self._hooks = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]
        self._refused = [name for name in BATCHING if hasattr(model, name)]
        for name in self._refused:
            setattr(model, name, _refuse_batching)

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()
        for name in self._refused:
            self._model.__dict__.pop(name, None)

    def _before(self, _model: Module, _args: Any, _kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._stage.reached.clear()
        for config in self._found.configs:
            if config._attn_implementation != NAME:
                raise IntegrationError(
                    f"attn_implementation of {type(self._model).__name__} was changed to "
                    f"{config._attn_implementation!r} while it is sparse, and nothing would be; "
                    f"call .remove() on the run first"
                )

    def _after(self, _model: Module, args: Any, kwargs: Any, _output: Any) -> None:
        if torch.compiler.is_compiling() or _queries(args, kwargs) < 2:
            return
        missing = len(self._stage.layers) - len(self._stage.reached)
        if missing and not _is_compiled(self._model):
            raise IntegrationError(
                f"{missing} of {len(self._stage.layers)} attention layers of {type(self._model).__name__} did not "
                f"reach videosieve: something calls another attention; call .remove() on the run, and "
                f"sparsify afterwards"
            )


def _queries(args: Any, kwargs: Any) -> int:
    tensors = [kwargs.get("inputs_embeds"), kwargs.get("input_ids"), *args[:1]]
    return next((x.shape[1] for x in tensors if isinstance(x, torch.Tensor) and x.ndim > 1), 0)


def _is_compiled(model: Module) -> bool:
    return any(getattr(module, "_compiled_call_impl", None) is not None for module in model.modules())


def _refuse_batching(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise IntegrationError(
        "continuous batching has a paged cache and an attention of its own, which cannot be sparse; use generate(), or "
        "call .remove() on the run first"
    )
