"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    cogvideox,
    hunyuanvideo,
    ltx,
    wan,
)

ROWS = (*hunyuanvideo.ROWS, *cogvideox.ROWS, *wan.ROWS, *ltx.ROWS)

__all__ = ["ROWS"]
