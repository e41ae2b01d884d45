"""The supported video transformers: a row of data each, by family, and how a row is found."""

from videosieve.integrations.diffusers.models.lookup import MODELS, find_row, find_transformers
from videosieve.integrations.diffusers.models.rows import ModelRow

__all__ = ["MODELS", "ModelRow", "find_row", "find_transformers"]
