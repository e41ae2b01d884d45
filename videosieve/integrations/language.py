"""Is it a language model? Asked of the classes that a thing is made of: nothing is imported to see it."""

from typing import Any

from torch.nn import Module


def is_language_model(target: Any) -> bool:
    """Whether something is a model of transformers, and not a part of diffusers."""
    return language_model_of(target) is not None


def language_model_of(target: Any) -> Module | None:
    """The model of transformers that something is, bare, compiled or wrapped by PEFT; None where it is none."""
    target = getattr(target, "_orig_mod", target)
    if any(cls.__module__.split(".")[0] == "peft" for cls in type(target).__mro__) and hasattr(
        target, "get_base_model"
    ):
        target = target.get_base_model()
    if not isinstance(target, Module):
        return None
    rooms = {cls.__module__.split(".")[0] for cls in type(target).__mro__}
    return target if "transformers" in rooms and "diffusers" not in rooms else None
