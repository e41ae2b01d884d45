"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    cogvideox,
    cosmos3,
    hunyuanvideo,
    ltx,
    minimax_h3,
    wan,
)

ROWS = (*hunyuanvideo.ROWS, *cogvideox.ROWS, *wan.ROWS, *ltx.ROWS, *minimax_h3.ROWS, *cosmos3.ROWS)

__all__ = ["ROWS"]
