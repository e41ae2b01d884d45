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
    """The supported transformers of a pipeline by component name, or the transformer itself as "transformer".

    Args:
        target: A diffusers pipeline or a transformer; compiled ones are unwrapped.

    Returns:
        At least one transformer.

    Raises:
        IntegrationError: There is no supported transformer.
    """
    components = getattr(target, "components", None)
    candidates = components if isinstance(components, Mapping) else {"transformer": target}
    modules = {name: getattr(part, "_orig_mod", part) for name, part in candidates.items()}
    found = {name: part for name, part in modules.items() if isinstance(part, Module) and find_row(part)}
    if not found:
        seen = [
            f"{name}: {type(part).__name__}" for name, part in modules.items() if isinstance(part, Module)
        ]
        raise IntegrationError(
            f"{type(target).__name__} has no video transformer that videosieve knows; it has "
            f"{', '.join(seen) or 'no network'}. Known: {', '.join(MODELS)}"
        )
    return found
