"""Which row a transformer has, and which transformers a pipeline has."""

from collections.abc import Mapping

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.frame_rate import FRAME_RATE
from videosieve.integrations.diffusers.models.images import IMAGES
from videosieve.integrations.diffusers.models.registering import MODELS, load_models
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.integrations.diffusers.models.words import why_unknown


def find_row(transformer: object, images: bool = False) -> ModelRow | None:
    """The row of a transformer's class or of the nearest class it inherits from; of image models too where asked."""
    names = [cls.__name__ for cls in type(transformer).__mro__]
    if images and (found := next((IMAGES[name] for name in names if name in IMAGES), None)) is not None:
        return found
    if not any(name in MODELS for name in names) and isinstance(transformer, Module):
        load_models()
    return next((MODELS[name] for name in names if name in MODELS), None)


def find_named(cls: str) -> ModelRow | None:
    """The row of a transformer class, given by name."""
    if cls.endswith(("Model", "Transformer")) and cls not in MODELS:
        load_models()
    return MODELS.get(cls)


def find_transformers(target: object, images: bool = False) -> dict[str, Module]:
    """The transformers of a pipeline that can be made sparse by component name, or the transformer as "transformer".

    Args:
        target: A diffusers pipeline or a transformer; compiled ones are unwrapped.
        images: Whether image transformers count, which can be looked at and never be made sparse.

    Returns:
        At least one transformer. Recognised ones that stay dense are left out where another one is there.

    Raises:
        IntegrationError: There is none; the message says why where the class is recognised.
    """
    components = getattr(target, "components", None)
    candidates = components if isinstance(components, Mapping) else {"transformer": target}
    modules = {
        name: module
        for name, part in candidates.items()
        if isinstance(module := getattr(part, "_orig_mod", part), Module)
    }
    known = {
        name: (part, row) for name, part in modules.items() if (row := find_row(part, images)) is not None
    }
    refused = {name: why for name, (part, row) in known.items() if (why := why_refused(part, row))}
    if len(refused) < len(known):
        return {name: part for name, (part, _) in known.items() if name not in refused}
    if refused:
        name, why = next(iter(refused.items()))
        raise IntegrationError(f"{type(modules[name]).__name__}: {why}")
    sparse = ", ".join(row.name for row in MODELS.values() if not row.dense)
    raise IntegrationError(
        why_unknown(
            type(target).__name__, {name: type(part).__name__ for name, part in modules.items()}, sparse
        )
    )


def frame_rate_of(target: object) -> float:
    """Frames per second that a pipeline's videos were made for; its own `frame_rate` goes before its family's.

    Args:
        target: A diffusers pipeline or a transformer.
    """
    own = getattr(target, "frame_rate", None)
    if isinstance(own, int | float):
        return float(own)
    components = getattr(target, "components", None)
    parts = components.values() if isinstance(components, Mapping) else (target,)
    modules = [getattr(part, "_orig_mod", part) for part in parts]
    rows = [(row, part) for part in modules if isinstance(part, Module) and (row := find_row(part))]
    return next((row.rate_of(getattr(part, "config", {})) for row, part in rows), FRAME_RATE)


def why_refused(transformer: object, row: ModelRow) -> str:
    """Why a transformer is recognised and not made sparse, or nothing."""
    return row.why_refused(getattr(transformer, "config", {}))
