"""Which row a transformer has, and which transformers a pipeline has."""

from collections.abc import Mapping

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.models.families import ROWS
from videosieve.integrations.diffusers.models.rows import ModelRow

MODELS: dict[str, ModelRow] = {row.name: row for row in ROWS}


def find_row(transformer: object) -> ModelRow | None:
    """The row of a transformer's class or of the nearest class it inherits from."""
    return next((MODELS[cls.__name__] for cls in type(transformer).__mro__ if cls.__name__ in MODELS), None)


def find_transformers(target: object) -> dict[str, Module]:
    """The transformers of a pipeline that can be made sparse by component name, or the transformer as "transformer".

    Args:
        target: A diffusers pipeline or a transformer; compiled ones are unwrapped.

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
    known = {name: (part, row) for name, part in modules.items() if (row := find_row(part)) is not None}
    refused = {name: why for name, (part, row) in known.items() if (why := why_refused(part, row))}
    if len(refused) < len(known):
        return {name: part for name, (part, _) in known.items() if name not in refused}
    if refused:
        name, why = next(iter(refused.items()))
        raise IntegrationError(f"{type(modules[name]).__name__}: {why}")
    seen = ", ".join(f"{name}: {type(part).__name__}" for name, part in modules.items())
    sparse = ", ".join(row.name for row in MODELS.values() if not row.dense)
    raise IntegrationError(
        f"{type(target).__name__} has no video transformer that videosieve knows; it has "
        f"{seen or 'no network'}. Known: {sparse}"
    )


def why_refused(transformer: object, row: ModelRow) -> str:
    """Why a transformer is recognised and not made sparse, or nothing."""
    return row.why_refused(getattr(transformer, "config", {}))
