"""The supported video transformers: a row of data each, by family, and how a row is found."""

from videosieve.integrations.diffusers.models.images import IMAGES
from videosieve.integrations.diffusers.models.lookup import (
    find_named,
    find_row,
    find_transformers,
    frame_rate_of,
)
from videosieve.integrations.diffusers.models.parts import Condition, Cut, Extra, Text
from videosieve.integrations.diffusers.models.registering import MODELS, register_model
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.integrations.diffusers.models.starts import require_family, start_of

__all__ = [
    "IMAGES",
    "MODELS",
    "Condition",
    "Cut",
    "Extra",
    "ModelRow",
    "Text",
    "find_named",
    "find_row",
    "find_transformers",
    "frame_rate_of",
    "register_model",
    "require_family",
    "start_of",
]
