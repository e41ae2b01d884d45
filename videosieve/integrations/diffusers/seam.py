"""The seam: re-bound processors.

Every hooked self-attention gets an instance of a dynamic subclass of its *own* processor class. The subclass runs the
original `__call__` code with other globals, in which only the attention primitive (`dispatch_attention_fn` or
`F.scaled_dot_product_attention`) leads to our router. No projection, norm or RoPE code is copied, no class or module
of diffusers is changed, and the original processor objects go back in place on removal.
"""

import inspect
import itertools
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.router import Layer, Stage, note_own, route
from videosieve.integrations.diffusers.ulysses import attend_ulysses

_DISPATCH = ("dispatch_attention_fn", "_dispatch_attention_fn")
_SDPA = "scaled_dot_product_attention"
_NUMBERS = itertools.count()


class Rebinder:
    """Makes re-bound processors for one transformer.

    Args:
        stage: The transformer.
        text_alone: Whether the processor also attends over text alone, causally.
    """

    def __init__(self, stage: Stage, text_alone: bool = False) -> None:
        self._stage = stage
        self._text_alone = text_alone
        self._classes: dict[type, type] = {}
        self._modules: list[str] = []

    def rebind(self, processor: Any, layer: Layer, original: Any) -> Any:
        """A copy of `processor` whose attention primitive is the router.

        Args:
            processor: Whose code runs.
            layer: Where its attention calls go.
            original: The module's own processor, which a copy of the module gets.

        Raises:
            IntegrationError: Its `__call__` names no attention primitive.
        """
        cls = type(processor)
        if cls not in self._classes:
            self._classes[cls] = self._subclass(cls)
        rebound = object.__new__(self._classes[cls])
        ours = {"handle": layer.handle, "layer": layer, "original": original}
        rebound.__dict__.update(processor.__dict__, **{f"videosieve_{name}": x for name, x in ours.items()})
        return rebound

    def close(self) -> None:
        """Forget the modules that hold the re-bound code."""
        for name in self._modules:
            sys.modules.pop(name, None)

    def _subclass(self, cls: type) -> type:
        original: Any = cls.__call__
        inner = FunctionType(
            original.__code__,
            self._globals(cls, original).__dict__,
            original.__name__,
            original.__defaults__,
            original.__closure__,
        )
        inner.__kwdefaults__ = original.__kwdefaults__
        stage = self._stage

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            stage.handle = self.videosieve_handle
            stage.order = self.videosieve_layer.order
            if not torch.compiler.is_compiling():
                self.videosieve_layer.entered += 1
                self.videosieve_layer.items = _items(args, kwargs)
            slot = self.videosieve_layer.slot
            if slot is None:
                return inner(self, *args, **kwargs)
            return slot.run(partial(inner, self), args, kwargs)

        # diffusers drops every keyword argument that the processor's signature does not name.
        call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
        members = {"__call__": call, "__deepcopy__": _copy_of_original, "__module__": cls.__module__}
        return type(cls.__name__, (cls,), members)

    def _globals(self, cls: type, original: Any) -> ModuleType:
        code = getattr(original, "__code__", None)
        names = _names(code) if code else set()
        replaced: dict[str, Any] = {name: self._dispatch() for name in _DISPATCH if name in names}
        if _SDPA in names and "F" in names:
            replaced["F"] = self._module(
                "functional", dict(vars(F)), {_SDPA: self._scaled_dot_product_attention()}
            )
        if not replaced:
            raise IntegrationError(
                f"{cls.__name__}.__call__ must call dispatch_attention_fn or F.{_SDPA} to be made sparse, and it names "
                f"neither; put the model's own processor back, or patch its class after sparsify"
            )
        return self._module(cls.__name__, original.__globals__, replaced)

    def _module(self, name: str, content: dict[str, Any], replaced: dict[str, Any]) -> ModuleType:
        # Dynamo guards globals through the module that holds them, so it must be a real one with a name of its own.
        module = ModuleType(f"{__name__}_{next(_NUMBERS)}_{name}")
        module.__dict__.update({key: value for key, value in content.items() if key != "__name__"} | replaced)
        sys.modules[module.__name__] = module
        self._modules.append(module.__name__)
        return module

    def _scaled_dot_product_attention(self) -> Callable[..., Tensor]:
        stage = self._stage

        def scaled_dot_product_attention(
            query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
            is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
        ) -> Tensor:  # fmt: skip
            if attn_mask is not None and not isinstance(attn_mask, Tensor):
                note_own(stage, query, key)
                return F.scaled_dot_product_attention(
                    query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
                )
            _require_plain(dropout_p, is_causal)
            if stage.share is not None:
                qkv = (query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
                return _attend_ulysses(stage, qkv, attn_mask, scale).transpose(1, 2)
            return route(stage, query, key, value, attn_mask, scale)

        return scaled_dot_product_attention

    def _dispatch(self) -> Callable[..., Tensor]:
        stage, text_alone = self._stage, self._text_alone

        def dispatch_attention_fn(
            query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
            is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
            **options: Any,
        ) -> Tensor:  # fmt: skip
            if attn_mask is not None and not isinstance(attn_mask, Tensor):
                note_own(stage, query.transpose(1, 2), key.transpose(1, 2))
                return _dispatch_of_diffusers(
                    query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, **options
                )
            if is_causal and text_alone:  # no video attention: as little ours as a cross-attention
                return _dispatch_of_diffusers(
                    query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, **options
                )
            _require_plain(dropout_p, is_causal)
            config = options.get("parallel_config")
            if getattr(config, "context_parallel_config", None) is not None:
                return _attend_ulysses(stage, (query, key, value), attn_mask, scale)
            q, k, v = (x.transpose(1, 2) for x in (query, key, value))
            return route(stage, q, k, v, attn_mask, scale).transpose(1, 2)

        return dispatch_attention_fn


def _items(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Batch items that a processor is called with: the attention module comes first, the hidden states next."""
    given = args[1] if len(args) > 1 else kwargs.get("hidden_states")
    return given.shape[0] if isinstance(given, Tensor) and given.ndim == 3 else 0


def _dispatch_of_diffusers(*args: Any, **options: Any) -> Tensor:
    """The primitive as it is, for what our op cannot carry: a mask that is no tensor (flex attention's block mask)."""
    from diffusers.models.attention_dispatch import dispatch_attention_fn

    return dispatch_attention_fn(*args, **options)


def _copy_of_original(self: Any, memo: dict[int, Any]) -> Any:
    """A copied transformer is no part of the run: it has the model's own processors."""
    return deepcopy(self.videosieve_original, memo)


def _attend_ulysses(
    stage: Stage, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, scale: float | None
) -> Tensor:
    share = stage.share
    if share is None:
        raise IntegrationError(
            f"context parallelism of {stage.name} began within a forward, or an attention was called outside of one; "
            f"enable it before the forward"
        )

    def attend(q: Tensor, k: Tensor, v: Tensor, whole_mask: Tensor | None) -> Tensor:
        return route(stage, q, k, v, whole_mask, scale)

    order = stage.order
    if order is None:
        return attend_ulysses(attend, share, qkv, mask, scale)
    query, key, value = (x.index_select(2, order.places) for x in qkv)
    return attend_ulysses(attend, share, (query, key, value), mask, scale).index_select(2, order.inverse)


def _require_plain(dropout: float, causal: bool) -> None:
    if dropout or causal:
        raise IntegrationError(
            f"video self-attention must be plain to be made sparse, got {dropout=}, {causal=}; "
            f"call .remove() on the run"
        )


def _names(code: CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def is_rebound(module: Module) -> bool:
    """Whether the module's processor is one of ours."""
    return hasattr(getattr(module, "processor", None), "videosieve_layer")
