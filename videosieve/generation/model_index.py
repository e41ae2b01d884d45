"""What a model is, from the small files beside its weights: before gigabytes are read or fetched.

`model_index.json` names the pipeline's class and those of its parts; `transformer/config.json` says which variant
it is. A folder has them; of a hub id they are in the cache, or fetched alone.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosieve.errors import ModelError
from videosieve.files import is_folder
from videosieve.frame_rate import FRAME_RATE
from videosieve.integrations.diffusers.models import IMAGES, MODELS, find_named, start_of
from videosieve.integrations.diffusers.models.starts import STARTING_POINT
from videosieve.integrations.diffusers.models.words import why_factorised
from videosieve.recipe import Recipe

if TYPE_CHECKING:
    from videosieve.integrations.diffusers import ModelRow

INDEX = "model_index.json"
AUTO = "auto"


def read_part(model: str, name: str) -> dict[str, Any] | None:
    """A small JSON file of a model, or None where it cannot be had or read.

    Args:
        model: A folder or a hub id, as `load_pipeline` takes it.
        name: "model_index.json" or "transformer/config.json".
    """
    folder = _folder_of(model)
    path = folder / name if is_folder(folder) else _from_hub(model, name)
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _folder_of(model: str) -> Path:
    return Path(os.path.expanduser(model))  # noqa: PTH111 - pathlib's raises where there is no such user


def rows_of(model: str) -> dict[str, "ModelRow"]:
    """The rows of a model's transformers by component name; empty where they are not known.

    Args:
        model: As `load_pipeline` takes it; the bundled models have HunyuanVideo's transformer.
    """
    if is_bundled(model):
        return {"transformer": MODELS["HunyuanVideoTransformer3DModel"]}
    index = read_part(model, INDEX) or {}
    found = {name: find_named(cls) for name, cls in _classes(index)}
    return {name: row for name, row in found.items() if row is not None}


def makes_images(model: str) -> bool:
    """Whether a model has an image transformer that saliency can look at."""
    return any(cls in IMAGES for _, cls in _classes(read_part(model, INDEX) or {}))


def is_bundled(model: str) -> bool:
    """Whether a model is one of the small bundled kind: by name, or a folder that holds such a pipeline."""
    if is_folder(_folder_of(model)):
        return (read_part(model, INDEX) or {}).get("_class_name") == "ShapesPipeline"
    return model.startswith("shapes") and "/" not in model


def require_sparse(model: str) -> None:
    """Refuse a model all of whose transformers are known to stay dense, before its weights are read.

    Raises:
        ModelError: It is one; the message names the class, the reason and the way forward.
    """
    rows = rows_of(model)
    if not rows and (told := why_factorised(dict(_classes(read_part(model, INDEX) or {})))):
        raise ModelError(f"{model!r}: {told}")
    config: Mapping[str, Any] = {}
    if any(row.dense_if for row in rows.values()):
        config = read_part(model, "transformer/config.json") or {}
    reasons = {row.name: row.why_refused(config) for row in rows.values()}
    if reasons and all(reasons.values()):
        name, why = next(iter(reasons.items()))
        raise ModelError(f"{model!r} has a {name}: {why}")


def resolve_recipe(source: str, model: str) -> "str | Recipe":
    """What `--method` names: "auto" becomes the recipe that the model's family begins with.

    Args:
        source: A method, a recipe, a file, or "auto".
        model: As `load_pipeline` takes it.

    Raises:
        ModelError: "auto", and what the model is cannot be read.
    """
    if source != AUTO:
        return source
    if is_bundled(model):
        return STARTING_POINT
    rows = [row for row in rows_of(model).values() if not row.dense]
    if not rows:
        raise ModelError(
            f"auto takes the recipe of the model's family, and which one {model!r} is of cannot be read from its "
            f"{INDEX}; name a method or a recipe"
        )
    return start_of(rows[0])


def frame_rate_for(model: str) -> float:
    """Frames per second that a model's videos were made for; the usual one where it is not known.

    Args:
        model: As `load_pipeline` takes it.
    """
    if is_bundled(model):
        return FRAME_RATE
    rows = rows_of(model)
    if not rows:
        return FRAME_RATE
    row = next(iter(rows.values()))
    return row.rate_of(read_part(model, "transformer/config.json") or {} if row.frame_rates else {})


def _classes(index: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Component name and class of every part that an index lists."""
    for name, entry in index.items():
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
            yield name, entry[1]


@lru_cache(maxsize=64)
def _from_hub(model: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download

    if model.count("/") != 1 or model.startswith("."):
        return None
    try:
        return Path(hf_hub_download(model, name))
    except Exception:  # noqa: BLE001 - offline, not cached, no such model, whatever the hub says: loading will say so
        return None
