"""Slots: modules that may return a stored output instead of computing, and halve a batch whose guidance branches share.

A self-attention's slot sits in its re-bound processor; `reuse_hooks.py` gives other modules theirs. Modules that only
feed one that returns a stored output are idle: what they return nobody reads.
What a slot does is settled before every forward, as plain booleans, so that torch.compile traces one graph per case and
never looks at the schedule; tensors come and go through two custom ops.
"""

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.forward import Site
from videosieve.integrations.diffusers.clock import Moment
from videosieve.outputs import Kept, tensors_in
from videosieve.run import Run
from videosieve.schedule import Kind

_SLOTS: "weakref.WeakValueDictionary[int, Slot]" = weakref.WeakValueDictionary()
_IDS = itertools.count()


class Slot:
    """The stored output of one module.

    Attributes:
        reuses: In the running forward: return the stored output.
        keeps: In the running forward: store the output.
        halves: In the running forward: compute the conditional half of the batch and hand it to both.
        single: Whether the module returns a tensor, not a tuple of tensors.
        handle: int64 CPU scalar that identifies the slot inside the custom ops.
        token: int64 CPU [1]; the storing op writes to it, so that no compiler takes the op for useless.
        pairs: Query–key pairs of the attention call of the running forward.
        returned: Outputs returned in the running forward.

    Args:
        run: Where outputs are kept.
        component: Name of the transformer in its pipeline.
        module: Name of the module in its transformer.
        kind: What the module is.
        layer: Index of the self-attention in whose block the module is.
        layers: Self-attentions in the transformer.
        channels: Of the output where the input has more; None where both have as many.
    """

    def __init__(
        self,
        run: Run,
        component: str,
        module: str,
        kind: Kind,
        layer: int,
        layers: int,
        channels: int | None = None,
    ) -> None:
        number = next(_IDS)
        self.reuses = self.keeps = self.halves = False
        self.single = True
        self.handle = torch.tensor(number, device="cpu")
        self.token = torch.zeros(1, dtype=torch.int64, device="cpu")
        self.pairs = 0
        self.returned = 0
        self._run, self._component = run, component
        self._kind: Kind = kind
        self._name = f"{component}.{module}"
        self._layer, self._layers, self._channels = layer, layers, channels
        self._site = Site()
        self._batch = 0
        self._form: object = ()
        self._kept: Kept | None = None
        _SLOTS[number] = self

    def prepare(self, moment: Moment) -> None:
        """Settle what the module does in the forward that begins."""
        self.forget()
        recipe, outputs = self._run.recipe, self._run.outputs
        if moment.valid_tokens < max(recipe.min_tokens, 1) or torch.is_grad_enabled():
            return
        self._site, self._batch = moment.forward.site(self._layer, self._layers), moment.batch
        self._form = moment.arrangements
        self._kept = outputs.find(self._name, self._kind, self._site, self._form)
        self.reuses = self._kept is not None
        if not self.reuses:
            outputs.drop(self._name, self._site)  # before the new one is made
            self.keeps = outputs.wanted(self._kind, self._site)
            shared = self._kind == "attention" and recipe.schedule.shares(self._site)
            self.halves = shared and moment.guided

    def forget(self) -> None:
        """Neither return nor store anything."""
        self.reuses = self.keeps = self.halves = False
        self.pairs = self.returned = 0
        self._kept = None

    def run(self, compute: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The module's output, stored or computed.

        Args:
            compute: The module as it is without us.
            args: Its arguments.
            kwargs: Its named arguments.

        Returns:
            What the module returns.
        """
        inputs = _inputs(args, kwargs)
        if self.skips(inputs[0]):
            if not torch.compiler.is_compiling():
                return self._return()
            likes = [x[..., : self._channels] for x in inputs] if self._channels else inputs
            values = tuple(recall(like, self.handle, part) for part, like in enumerate(likes))
            return values[0] if self.single else values
        if self.halves and inputs[0].shape[0] != self._batch:
            self.halves = False  # a cache has left a half out already
        if self.halves:
            args, kwargs = _second_half(args, kwargs, inputs[0].shape[0])
        output = compute(*args, **kwargs)
        if self.halves:
            output = _double(output)
        if self.keeps:
            self._store(output)
        return output

    def skips(self, hidden: Tensor) -> bool:
        """Whether the module returns its stored output instead of computing from these hidden states."""
        return self.reuses and (torch.compiler.is_compiling() or self._fits(hidden))

    def keep(self, value: Any) -> None:
        """Store an output of the running forward."""
        self.single = isinstance(value, Tensor)
        pairs = self.pairs * (2 if self.halves else 1)
        self._run.outputs.keep(self._name, self._kind, self._site, value, pairs, self._form)

    def part(self, part: int, like: Tensor) -> Tensor:
        """A copy of one tensor of the stored output, for compiled code, which may write to what it gets."""
        kept = self._return() if part == 0 else (self._kept.value if self._kept else None)
        tensor = kept if isinstance(kept, Tensor) else list(tensors_in(kept))[part]
        if tensor.shape != like.shape:
            raise IntegrationError(
                f"the stored output of {self._name} is {list(tensor.shape)}, and {list(like.shape)} is due: something "
                f"changes the batch inside the forward; that does not go with output reuse under torch.compile"
            )
        return tensor.to(like.dtype, copy=True).contiguous()

    def _return(self) -> Any:
        kept = self._kept
        if kept is None:
            raise IntegrationError(f"nothing is stored for {self._name}; call .remove() on the run")
        self.returned += 1
        self._run.outputs.give(self._name, self._kind, self._site)
        if self._kind == "attention":
            self._run.reuse(self._site, kept)
            if kept.site.branch != self._site.branch:
                self._run.share_state(self._component, self._site)
        return kept.value

    def _fits(self, hidden: Tensor) -> bool:
        """False where a cache has changed the batch since the output was stored."""
        stored = next(tensors_in(self._kept.value), None) if self._kept else None
        return stored is not None and stored.shape[0] == hidden.shape[0] and stored.device == hidden.device

    def _store(self, output: Any) -> None:
        if torch.compiler.is_compiling():
            single = isinstance(output, Tensor)
            keep([output] if single else list(output), self.token, self.handle, single)
        else:
            self.keep(output)


@torch.library.custom_op("videosieve::recall", mutates_args=())
def recall(like: Tensor, handle: Tensor, part: int) -> Tensor:
    """One tensor of a slot's stored output; a copy, shaped like `like`."""
    return _SLOTS[int(handle)].part(part, like)


@recall.register_fake
def _(like: Tensor, handle: Tensor, part: int) -> Tensor:
    del handle, part
    return like.new_empty(like.shape)


_KEEP = "(Tensor[] values, Tensor(a1!) token, Tensor handle, bool single) -> ()"


@torch.library.custom_op("videosieve::keep", mutates_args={"token"}, schema=_KEEP)
def keep(values: Sequence[Tensor], token: Tensor, handle: Tensor, single: bool) -> None:
    """Store copies of a module's output in its slot: the compiler may use the originals' memory again."""
    copies = tuple(value.clone() for value in values)
    token += 1
    _SLOTS[int(handle)].keep(copies[0] if single else copies)


@keep.register_fake
def _(values: Sequence[Tensor], token: Tensor, handle: Tensor, single: bool) -> None:
    del values, token, handle, single


def _inputs(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The hidden states that the outputs are shaped like: the video's, and the text's where the module has both."""
    given = [kwargs.get(name) for name in ("hidden_states", "encoder_hidden_states")]
    positional = [x for x in args if not isinstance(x, Module)]
    named = [x for x in given if x is not None]
    first = positional[: 2 - len(named)] if given[0] is None else []
    return [x for x in (*first, *named) if isinstance(x, Tensor)]


def _second_half(
    args: tuple[Any, ...], kwargs: dict[str, Any], batch: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The conditional half: every diffusers pipeline that batches its guidance puts the unconditional half first."""

    def half(x: Any) -> Any:
        return x[batch // 2 :] if isinstance(x, Tensor) and x.ndim > 2 and x.shape[0] == batch else x

    return tuple(half(x) for x in args), {key: half(x) for key, x in kwargs.items()}


def _double(output: Any) -> Any:
    if isinstance(output, Tensor):
        return torch.cat([output, output])
    return tuple(None if x is None else torch.cat([x, x]) for x in output)
