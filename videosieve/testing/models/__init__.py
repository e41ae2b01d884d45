"""Tiny random transformers of every supported class, built in code: for tests, and for trying a new row.

One file per kind, each with its CASES; what an older diffusers lacks is left out by name (`Case.is_there`).
"""

from videosieve.testing.models import joint, others, wan
from videosieve.testing.models.tiny import Case, TinyModel

CASES: dict[str, Case] = {**joint.CASES, **wan.CASES, **others.CASES}

__all__ = ["CASES", "Case", "TinyModel"]
