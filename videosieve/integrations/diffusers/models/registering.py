"""Rows of your own, beside the library's."""

import re

from videosieve.errors import PluginError, VideosieveError
from videosieve.integrations.diffusers.models.families import ROWS
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.plugins import load_entry_points, load_plugins

MODELS: dict[str, ModelRow] = {row.name: row for row in ROWS}


def register_model(row: ModelRow) -> ModelRow:
    """Make a transformer class known, so that `sparsify` and everything above it take it.

    Args:
        row: What there is to know of it; its name is the class's own, or one that it inherits from.

    Returns:
        The row itself.

    Raises:
        PluginError: It is no row, a pattern in it is none, its kind of sequence is unknown, or the class has another
            row already.
    """
    if not isinstance(row, ModelRow):
        raise PluginError(f"a model must be a ModelRow, got {row!r}")
    for pattern in (row.attentions, row.feed_forwards, row.cross_attentions, row.joint_projections):
        try:
            re.compile(pattern)
        except re.error as error:
            raise PluginError(
                f"{pattern!r} in the row of {row.name} is no regular expression: {error}"
            ) from None
    try:
        sequence_of(row)
    except VideosieveError as error:
        raise PluginError(str(error)) from None
    known = MODELS.get(row.name)
    if known is not None and known != row:
        raise PluginError(
            f"{row.name} has a row already ({known.family}); give a subclass another name and register that"
        )
    MODELS[row.name] = row
    return row


def load_models() -> None:
    """Register what plug-in files and installed packages bring, each once."""
    load_plugins()
    load_entry_points("videosieve.models", register_model)
