"""What the pipeline itself says of a forward: the name in diffusers' `cache_context`, and its guider.

`cache_context` hands its name to cache hooks only, so the transformer *instance* gets one that listens and passes on.
It works for the plain names of diffusers < 0.42 and for its CacheContext alike; the latter may bring the step too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local
from types import MethodType
from typing import Any


@dataclass(frozen=True, slots=True)
class Context:
    """What `cache_context` was given.

    Attributes:
        name: Branch of the forward, as the pipeline names it.
        step: Denoising step; None where the pipeline does not say it.
    """

    name: str
    step: int | None = None


class Contexts(local):
    """The context that is open in this thread: requests may alternate on one transformer."""

    now: Context | None = None


def follow_cache_context(transformer: Any, contexts: Contexts) -> Callable[[], None]:
    """Note what the pipeline gives to diffusers' caches.

    Args:
        transformer: The transformer; one without `cache_context` is left alone.
        contexts: Where it is noted.

    Returns:
        A function that takes the listener off again.
    """
    if not hasattr(transformer, "cache_context"):
        return lambda: None
    transformer.cache_context = _Listener(transformer, contexts)
    return lambda: transformer.__dict__.pop("cache_context", None)


class _Listener:
    """Stands in for the method `cache_context` of one transformer; a copy of that gets its own method back."""

    def __init__(self, transformer: Any, contexts: Contexts) -> None:
        self._transformer, self._contexts = transformer, contexts
        self._original = transformer.cache_context

    @contextmanager
    def __call__(self, name: str, **details: Any) -> Iterator[None]:
        before, step = self._contexts.now, details.get("step_index")
        self._contexts.now = Context(branch_name(name), step if isinstance(step, int) else None)
        try:
            with self._original(name, **details):
                yield
        finally:
            self._contexts.now = before

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._transformer))
        return self if copied is None else MethodType(type(copied).cache_context, copied)


def branch_name(name: str) -> str:
    """A guider's name for a prediction as the name of a branch: "pred_cond" is "cond"."""
    return str(name).removeprefix("pred_")


def guider_branch(holder: Any, step: int) -> str | None:
    """The branch that the pipeline's guider is about to predict.

    Args:
        holder: The pipeline; may have none.
        step: Denoising step; of two guiders (Wan 2.2) the one that is at this step is meant.

    Returns:
        "cond" or "uncond"; None where no guider is at work.
    """
    parts = getattr(holder, "__dict__", {})
    guiders = [parts[name] for name in ("guider", "guider_2") if parts.get(name) is not None]
    working = [one for one in guiders if getattr(one, "_count_prepared", 0)]
    for guider in sorted(working, key=lambda one: getattr(one, "_step", None) != step):
        conditional = getattr(guider, "is_conditional", None)
        return None if conditional is None else "cond" if conditional else "uncond"
    return None


def asks_for_guidance(holder: Any) -> bool | None:
    """Whether a pipeline has classifier-free guidance on at this moment; None where it does not say."""
    told = getattr(holder, "do_classifier_free_guidance", None)
    if isinstance(told, bool):
        return told
    scale = getattr(holder, "guidance_scale", None)
    return None if scale is None or not isinstance(scale, int | float) else scale > 1
